"""tinylm answer: a question, with a context or without."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

from ..texts import add_beams, beams, read_text, told

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "answer", help="answer a question", description="Answer a question with a model of the task questions."
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    parser.add_argument("question", metavar="QUESTION", help="what is asked")
    parser.add_argument("--context", metavar="TEXT|FILE", help="where the answer is to be found; - for piped text")
    add_beams(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the answer."""
    context = None if options.context is None else read_text(options.context)
    with told():
        print(tinylm.load(options.model).answer(options.question, context, **beams(options)) or "(no answer)")
