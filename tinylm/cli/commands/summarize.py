"""tinylm summarize: a long text in a few words."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

from ..texts import add_writer, beams, read_text, told

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    described = "Sum up a text, or that of a file, with a model of the task summaries."
    add_writer(commands, "summarize", run, help="sum up a text", description=described)


def run(options: argparse.Namespace) -> None:
    """Print the summary."""
    text = read_text(options.text)
    with told():
        print(tinylm.load(options.model).summarize(text, **beams(options)))
