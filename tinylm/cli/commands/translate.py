"""tinylm translate: a text, or a file line by line."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

from ..texts import add_writer, beams, read_text, told

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    described = "Translate a text, or each line of a file, with a model of the task translation."
    add_writer(commands, "translate", run, help="translate a text", description=described)


def run(options: argparse.Namespace) -> None:
    """Print a line for each line; blank ones stay."""
    lines = read_text(options.text).splitlines()
    texts = [line for line in lines if line.strip()]
    with told():
        written = iter(tinylm.load(options.model).translate(texts, **beams(options)))
    for line in lines:
        print(next(written) if line.strip() else "")
