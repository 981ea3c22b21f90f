"""tinylm summarize: a long text in a few words."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

from ..texts import add_beams, add_text_argument, beams, read_text, told

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "summarize",
        help="sum up a text",
        description="Sum up a text, or that of a file, with a model of the task summaries.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    add_text_argument(parser)
    add_beams(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the summary."""
    text = read_text(options.text)
    with told():
        print(tinylm.load(options.model).summarize(text, **beams(options)))
