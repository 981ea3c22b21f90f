"""Texts that a command takes as they are, from a file, or from what is piped in."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError

__all__ = ["add_beams", "add_writer", "beams", "read_text", "told"]


def add_writer(commands: Any, name: str, run: Callable[[argparse.Namespace], None], **told: str) -> None:
    """Declare a command by which a model writes from a text. told: its help and description."""
    parser = commands.add_parser(name, **told)
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    parser.add_argument("text", metavar="TEXT|FILE", help="a text, a file of text, or - for what is piped in")
    add_beams(parser)
    parser.set_defaults(run=run)


def add_beams(parser: argparse.ArgumentParser) -> None:
    """Declare beam search."""
    parser.add_argument("--beams", type=int, metavar="N", help="follow the N likeliest texts at once; 1 unless given")


def beams(options: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as settings of `LM.translate` and its like."""
    return {} if options.beams is None else {"beams": options.beams}


def read_text(argument: str) -> str:
    """The text that an argument is, or names. Raises FileFormatError for a file that is not UTF-8."""
    if argument == "-":
        return sys.stdin.read()
    try:
        if not Path(argument).is_file():
            return argument
    except OSError:  # too long for a path
        return argument
    try:
        return Path(argument).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(argument, "not UTF-8 text", error.start) from None


@contextmanager
def told() -> Iterator[None]:
    """A block whose warnings are told in one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        yield
    for warning in caught:
        print(f"tinylm: warning: {warning.message}", file=sys.stderr)
