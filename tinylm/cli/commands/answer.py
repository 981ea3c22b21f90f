"""tinylm answer: a question, with a context or without."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import tinylm

from ..texts import add_beams, beams, read_text, told

__all__ = ["add_to", "run"]

AROUND = 40  # characters


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "answer",
        help="answer a question",
        description="Answer a question with a model of the task questions, or "
        "mark the answer in a context with one of the task reading.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    parser.add_argument("question", metavar="QUESTION", help="what is asked")
    parser.add_argument("--context", metavar="TEXT|FILE", help="where the answer is to be found; - for piped text")
    add_beams(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the answer."""
    from tinylm.inference import is_reader

    context = None if options.context is None else read_text(options.context)
    lm = tinylm.load(options.model)
    with told():
        if context is not None and is_reader(lm.model):
            print(_shown(lm.find_answers(options.question, context), context))
        else:
            print(lm.answer(options.question, context, **beams(options)) or "(no answer)")


def _shown(found: Sequence[Any], context: str) -> str:
    """The answer, and where it stands, in the words around it."""
    if not found or not found[0].text:
        return "(no answer)"
    best = found[0]
    before, after = context[max(best.start - AROUND, 0) : best.start], context[best.end : best.end + AROUND]
    place = " ".join(f"{before}[{best.text}]{after}".split())
    return f"{best.text}\n  {best.probability:.0%}, characters {best.start} to {best.end}: {place}"
