"""Texts with the places where they stand: what is searched, and what a search shows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import FileFormatError, TinylmError
from ..omissions import Omissions
from ..readers.base import Row, Skipped
from ..survey import Progress, reporter
from .fields import convert
from .guessing import choose_columns
from .sources import Layout, find_sources

__all__ = ["Passage", "read_passages"]

_SAMPLE = 100  # rows that are looked at to guess the column


@dataclass(frozen=True)
class Passage:
    """A text, and where it stands: in a record of a file, from a character of its text on.

    source: the file, "" where the text came from none; line: where the record begins, from 1 (in JSON and Parquet, its
    number); start: in characters of the record's text, of which a long one gives several passages.
    """

    text: str
    source: str = ""
    line: int = 0
    start: int = 0

    @property
    def place(self) -> str:
        """For people: file, line and characters."""
        characters = f", characters {self.start} to {self.start + len(self.text)}" if self.start else ""
        return f"{self.source}:{self.line}{characters}"


def read_passages(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    column: str | None = None,
    *,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[list[Passage], Omissions]:
    """The text of each record of files, folders and patterns, as `open_records` reads them, and what was left out.

    column: that of the text, None to guess it; of plain text each line that is not blank is a record. strict: a record
    that cannot be used raises FileFormatError. Raises FileFormatError where no record can be used.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    sources = find_sources([Path(path) for path in given], Layout())
    total = sum(path.stat().st_size for source in sources for path in source.paths if path.is_file())
    on_read = reporter(progress, "reading", total)
    passages, omissions = [], Omissions()
    for source in sources:
        rows = source.rows(on_read)
        first = list(itertools.islice(rows, _SAMPLE))
        sample = [row.fields for row in first if isinstance(row, Row)]
        chosen = choose_columns(source.paths[0], sample, {"text": column}, ())[0] if sample else {}
        for row in itertools.chain(first, rows):
            made = row if isinstance(row, Skipped) else convert(row.fields, chosen, row.line)
            own = row.path if isinstance(row, Row) else None  # a file that is a record
            omissions.records += 1
            if not isinstance(made, Skipped):
                passages.append(Passage(made["text"], str(own or source.paths[0]), 1 if own else row.line))
                continue
            error = FileFormatError(own or source.paths[0], made.reason, line=None if own else made.line)
            if strict:
                raise error
            omissions.skip(error)
    if not passages:
        raise omissions.first or TinylmError("no records: nothing to read")
    return passages, omissions
