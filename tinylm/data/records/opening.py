"""Records from files, or from what a program holds: columns chosen, rows checked, repeats left out."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, TinylmError
from ..omissions import Omissions
from ..readers.archives import OnRead
from ..readers.base import Row, Skipped
from ..repeats import DIGEST_BYTES, Repeats
from ..survey import Progress, reporter
from .fields import convert
from .guessing import choose_columns
from .records import Records
from .sources import Layout, Source, find_sources
from .store import Store

__all__ = ["make_records", "open_records"]

_SAMPLE = 100  # rows that are looked at to guess columns
Fields = Mapping[str, str | None]


def open_records(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    fields: Fields | None = None,
    *,
    optional: Collection[str] = (),
    header: Sequence[str] | None = None,
    encoding: str | None = None,
    strict: bool = False,
    deduplicate: bool = True,
    progress: Progress | None = None,
) -> Records:
    """The records of files, folders and patterns: CSV, TSV, JSON, JSON Lines, Parquet, SQuAD, conversations, gettext
    catalogues, a folder for each label, parallel texts, lines of text; also packed.

    fields: the column that each field comes from, None to guess it; None for all columns. optional: fields that the
    records lack where no column holds them. header: names of the columns of tables that do not begin with them.
    encoding: of text files, UTF-8 or what a byte order mark says unless told. strict: a row that cannot be used raises
    FileFormatError, where else it is counted and named. deduplicate: records that repeat an earlier one are left out.
    Raises FileFormatError for what casts doubt on a whole file, and where no row can be used.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    sources = find_sources(given, Layout(tuple(header) if header else None, encoding))
    more = f" and {len(given) - 1} more" if len(given) > 1 else ""
    builder = _Builder((given[0].name or str(given[0])) + more, fields, optional, strict, deduplicate)
    total = sum(path.stat().st_size for source in sources for path in source.paths if path.is_file())
    on_read = reporter(progress, "reading", total)
    for source in sources:
        builder.read(source, on_read)
    return builder.finish()


def make_records(
    rows: Iterable[Mapping[str, Any]],
    fields: Fields | None = None,
    *,
    name: str = "records",
    optional: Collection[str] = (),
    strict: bool = True,
    deduplicate: bool = True,
) -> Records:
    """Records of what a program holds, such as a list of dicts, under the same rules as `open_records`."""
    builder = _Builder(name, fields, optional, strict, deduplicate)
    numbered = (Row(number, dict(row)) for number, row in enumerate(rows, 1))
    builder.read(Source((Path(name),), lambda on_read: numbered), lambda count: None)
    return builder.finish()


class _Builder:
    """Takes source after source, and keeps what can be used."""

    def __init__(self, name: str, fields: Fields | None, optional: Collection[str], strict: bool, deduplicate: bool):
        self.name, self.fields, self.optional, self.strict = name, fields, frozenset(optional), strict
        self.repeats = Repeats() if deduplicate else None
        self.store, self.omissions = Store(), Omissions()
        self.names: tuple[str, ...] | None = None
        self.notes: dict[str, None] = {}  # in order, each once

    def read(self, source: Source, on_read: OnRead) -> None:
        rows = source.rows(on_read)
        first = list(itertools.islice(rows, _SAMPLE))
        sample = [row.fields for row in first if isinstance(row, Row)]
        if sample:
            chosen, guessed = choose_columns(source.paths[0], sample, self.fields, self.optional)
            chosen = self._in_order(source.paths[0], chosen)
            self._note(source.kind, guessed)
        for row in itertools.chain(first, rows):
            self._add(row if isinstance(row, Skipped) else convert(row.fields, chosen, row.line), row, source)

    def _note(self, kind: str, guessed: Mapping[str, str]) -> None:
        told = ", ".join(f"{field} from {column!r}" for field, column in guessed.items() if field != column)
        self.notes |= dict.fromkeys(note for note in (kind, told) if note)

    def _in_order(self, path: Path, chosen: dict[str, str]) -> dict[str, str]:
        """The fields in the order of the first file, so that equal records are equal in bytes."""
        self.names = self.names or tuple(chosen)
        if set(chosen) != set(self.names):
            there, before = ", ".join(chosen), ", ".join(self.names)
            raise FileFormatError(path, f"has {there}, where the files before it have {before}")
        return {name: chosen[name] for name in self.names}

    def _add(self, made: dict[str, Any] | Skipped, row: Row | Skipped, source: Source) -> None:
        self.omissions.records += 1
        path = (row.path if isinstance(row, Row) else None) or source.paths[0]
        line = row.line if path in source.paths else 0  # a file of its own is one record
        if isinstance(made, Skipped):
            error = FileFormatError(path, made.reason, line=line or None)
            if self.strict:
                raise error
            self.omissions.skip(error)
            return
        packed = self.store.pack(made)
        if self.repeats and self.repeats.seen(hashlib.blake2b(packed, digest_size=DIGEST_BYTES).digest()):
            self.omissions.repeated += 1
            return
        self.store.add(packed, path, line)

    def finish(self) -> Records:
        if not len(self.store) or self.names is None:
            raise self.omissions.first or TinylmError(f"{self.name}: no records")
        return Records(self.name, self.store, self.names, self.omissions, tuple(self.notes))
