"""From what a user names to rows: tables, lists, conversations, catalogues, folders of labels, and parallel texts."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import FileFormatError, TinylmError
from ..paths import find_files
from ..readers import suffix_of
from ..readers.archives import ARCHIVES, OnRead
from ..readers.base import MAX_RECORD, Row, Skipped, TextFile, lines, wide_encoding
from ..readers.delimited import table_rows
from ..readers.json_lines import object_rows
from ..readers.parquet import parquet_rows
from .catalogues import catalogue_rows
from .conversations import chatterbot_rows
from .objects import json_rows, with_answers

__all__ = ["RECORD_SUFFIXES", "Layout", "Source", "find_sources"]


@dataclass(frozen=True)
class Layout:
    """What a file does not say itself. header: the names of the columns of a table that lacks them; encoding: of text,
    None for UTF-8, or what a byte order mark says."""

    header: tuple[str, ...] | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class Source:
    """Files that rows come from. rows: reads them; kind: what they were taken for, for the summary."""

    paths: tuple[Path, ...]
    rows: Callable[[OnRead], Iterator[Row | Skipped]]
    kind: str = ""


def _lines(file: TextFile) -> Iterator[Row | Skipped]:
    """A row for each line, its text; blank ones are none."""
    for number, line in lines(file):
        if text := _text(line):
            yield Row(number, {"text": text})


def _text(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _objects(file: TextFile) -> Iterator[Row | Skipped]:
    for item in object_rows(file):
        yield item if isinstance(item, Skipped) else Row(item.line, with_answers(item.fields))


def _parquet(file: TextFile) -> Iterator[Row | Skipped]:
    return (Row(row.line, with_answers(row.fields)) for row in parquet_rows(file))


READERS: dict[str, Callable[[TextFile], Iterator[Row | Skipped]]] = {
    ".json": json_rows,
    ".jsonl": _objects,
    ".mo": catalogue_rows,
    ".ndjson": _objects,
    ".parquet": _parquet,
    ".po": catalogue_rows,
    ".text": _lines,
    ".txt": _lines,
    ".yaml": chatterbot_rows,
    ".yml": chatterbot_rows,
}
TABLES = {".csv": None, ".tsv": "\t"}  # what stands between fields; None where the file has to be asked

RECORD_SUFFIXES = (*READERS, *TABLES)


def find_sources(paths: Sequence[Path], layout: Layout) -> list[Source]:
    """What the paths stand for, in their order: files, folders and patterns as `find_files` takes them; a folder of
    folders of texts, each named after a label; two files of one name with endings of their own, line by line.

    Raises FileFormatError for a path that is missing or empty.
    """
    if not paths:
        raise TinylmError("no data: name at least one file or folder")
    if len(paths) == 2 and (pair := _parallel(paths[0], paths[1], layout)):
        return [pair]
    return [source for path in paths for source in _sources(path, layout)]


def _sources(path: Path, layout: Layout) -> Iterator[Source]:
    files = find_files([path], RECORD_SUFFIXES)
    if path.is_dir() and (labelled := _labelled(path, files, layout)):
        yield labelled
        return
    for file in files:
        yield _file_source(file, layout)


def _file_source(path: Path, layout: Layout) -> Source:
    suffix = suffix_of(path)
    if suffix not in TABLES:
        reader = READERS.get(suffix, _lines)
        return Source((path,), lambda on_read: reader(_open(path, layout, on_read)))
    delimiter = TABLES[suffix] or _delimiter(_open(path, layout))

    def rows(on_read: OnRead) -> Iterator[Row | Skipped]:
        return table_rows(_open(path, layout, on_read), delimiter, layout.header)

    return Source((path,), rows, "" if delimiter in (",", TABLES[suffix]) else f"separated by {delimiter!r}")


def _open(path: Path, layout: Layout, on_read: OnRead = lambda count: None) -> TextFile:
    encoding = layout.encoding
    if encoding is None:
        with TextFile(path).open() as opened:
            encoding = wide_encoding(opened.read(4)) or "utf-8"
    return TextFile(path, on_read=on_read, encoding=encoding)


def _delimiter(file: TextFile) -> str:
    """What the first line has: a comma, or else the most frequent of ; | and the tab."""
    first = next((line for _, line in lines(file)), b"")
    counts = {mark: first.count(mark.encode()) for mark in ";\t|"}
    best = max(counts, key=counts.__getitem__)
    return best if counts[best] and b"," not in first else ","


def _labelled(folder: Path, files: Sequence[Path], layout: Layout) -> Source | None:
    """Where all are texts and lie in more than one folder: each file a text, its label the folder it lies in."""
    labels = sorted({file.parent.name for file in files})
    if len(labels) < 2 or folder in {file.parent for file in files}:
        return None
    if any(READERS.get(suffix_of(file)) is not _lines for file in files):
        return None

    def rows(on_read: OnRead) -> Iterator[Row | Skipped]:
        for number, file in enumerate(files, 1):
            with _open(file, layout, on_read).open() as opened:
                raw = opened.read(MAX_RECORD + 1)
            if len(raw) > MAX_RECORD:
                raise FileFormatError(file, f"a text of more than {MAX_RECORD:,} bytes: too large for a record")
            text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
            yield Row(number, {"text": text, "label": file.parent.name}, file)

    return Source((folder,), rows, f"a folder for each of {len(labels)} labels")


def _parallel(source: Path, target: Path, layout: Layout) -> Source | None:
    """Two files such as train.en and train.de: line n of one is the translation of line n of the other."""
    stems = [path.with_suffix("") if path.suffix.lower() in ARCHIVES else path for path in (source, target)]
    if not (source.is_file() and target.is_file() and source != target) or stems[0].stem != stems[1].stem:
        return None
    if any(stem.suffix.lower() in RECORD_SUFFIXES for stem in stems):
        return None

    def rows(on_read: OnRead) -> Iterator[Row | Skipped]:
        both = (_open(path, layout, on_read) for path in (source, target))
        for number, (a, b) in enumerate(_together(*both), 1):
            yield Row(number, {"source": _text(a), "target": _text(b)})

    return Source((source, target), rows, f"line by line: source from {source.name}, target from {target.name}")


def _together(first: TextFile, second: TextFile) -> Iterator[tuple[bytes, bytes]]:
    """The lines of two files side by side. Raises FileFormatError where one has fewer."""
    for a, b in itertools.zip_longest(lines(first), lines(second)):
        if a is None or b is None:
            shorter, longer = (first, second) if a is None else (second, first)
            reason = f"has fewer lines than {longer.path.name}: the lines of the two do not belong together"
            raise FileFormatError(shorter.path, reason)
        yield a[1], b[1]
