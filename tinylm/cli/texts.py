"""Texts that a command takes as they are, from a file, or from what is piped in."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.errors import FileFormatError

if TYPE_CHECKING:
    from tinylm.data import Passage

__all__ = ["add_beams", "add_passages", "add_writer", "beams", "read_given_passages", "read_text", "told"]


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


def add_passages(parser: argparse.ArgumentParser) -> None:
    """Declare a file of texts."""
    parser.add_argument("file", metavar="FILE", help="a .txt file, a text a line; CSV, TSV, JSONL, ...; or a folder")
    parser.add_argument("--text-column", metavar="NAME", help="the column of the text; guessed unless given")
    parser.add_argument("--strict", action="store_true", help="end at a record that cannot be used")


def read_given_passages(options: argparse.Namespace) -> list[Passage]:
    """The texts of the file with their places; what was left out is told."""
    from tinylm.data import read_passages

    from .progress import ReadingBar

    with closing(ReadingBar()) as bar:
        passages, omissions = read_passages(options.file, options.text_column, strict=options.strict, progress=bar)
    for message in omissions.messages():
        print(f"tinylm: warning: {message}", file=sys.stderr)
    return passages


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
