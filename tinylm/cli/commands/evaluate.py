"""tinylm eval: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "eval",
        help="measure a model on a text",
        description="Loss, perplexity, accuracy and bits per byte of a model on text files and folders.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model folder or a run folder")
    parser.add_argument("data", nargs="+", metavar="DATA", help="UTF-8 text files and folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the metrics."""
    metrics = tinylm.load(options.model).evaluate(options.data)
    if options.json:
        print(json.dumps(metrics))
        return
    for name, value in metrics.items():
        print(f"{name:<16} {value:,.4f}")
