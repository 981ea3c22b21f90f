"""tinylm fill: what may stand at a masked place."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "fill",
        help="fill in masked words",
        description="Show what may stand at each masked place of a text, and how likely; by a masked language model.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    parser.add_argument("text", metavar="TEXT", help='a text with masked words: "The [MASK] sat on the mat."')
    parser.add_argument("-k", type=int, default=5, metavar="N", help="how many tokens to show for each place (5)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the candidates for each place."""
    for number, candidates in enumerate(tinylm.load(options.model).fill(options.text, options.k), 1):
        print(f"place {number}:")
        for candidate in candidates:
            print(f"  {candidate.probability:6.1%}  {candidate.text}")
