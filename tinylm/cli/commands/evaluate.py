"""tinylm eval: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from contextlib import closing
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "eval",
        help="measure a model on a text",
        description="Loss, perplexity, accuracy and bits per byte of a model on files, folders and patterns of text, "
        "JSON Lines, CSV and Parquet.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("data", nargs="+", metavar="DATA", help="files, folders, or quoted patterns")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="the field or column that is the text")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the metrics."""
    from ..progress import ReadingBar

    with warnings.catch_warnings(record=True) as caught, closing(ReadingBar()) as bar:
        warnings.simplefilter("always", RuntimeWarning)
        lm = tinylm.load(options.model)
        metrics = lm.evaluate(options.data, text_column=options.text_column, progress=bar)
    for warning in caught:
        print(f"tinylm: warning: {warning.message}", file=sys.stderr)
    if options.json:
        print(json.dumps(metrics))
        return
    for name, value in metrics.items():
        print(f"{name:<16} {value:,.4f}")
