"""What every reader of text files takes and gives."""

from __future__ import annotations

import codecs
import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ...errors import FileFormatError
from .archives import OnRead, open_binary

__all__ = [
    "MAX_RECORD",
    "Piece",
    "Row",
    "Skipped",
    "TextFile",
    "check_column",
    "lines",
    "record",
    "text_start",
    "wide_encoding",
]

MAX_RECORD = 64 << 20  # bytes of one line or record: what a reader may have to hold at once

_WIDE_BOMS = {  # the longest first: UTF-16's is the beginning of UTF-32's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Piece(NamedTuple):
    """A part of a document, and whether the document ends with it."""

    text: str
    ends: bool


class Row(NamedTuple):
    """A record with all of its fields. line: where it begins, from 1 (in Parquet, the row); path: where several files
    make one source."""

    line: int
    fields: dict[str, Any]
    path: Path | None = None


class Skipped(NamedTuple):
    """A record that is left out, and why. line: where it begins, from 1 (in Parquet, the row)."""

    line: int
    reason: str


def _ignore(count: int) -> None: ...


@dataclass(frozen=True)
class TextFile:
    """A file to read. column: the field of a record that is its text; size: bytes read at a time.

    on_read: told how many bytes of the file have been taken, packed ones where it is an archive. encoding: of its text.
    """

    path: Path
    column: str = "text"
    size: int = 1 << 20
    on_read: OnRead = _ignore
    encoding: str = "utf-8"

    def open(self) -> BinaryIO:
        """Its bytes, unpacked, and in UTF-8 where they are text of another encoding."""
        return open_binary(self.path, self.on_read, self.encoding)


Reader = Callable[[TextFile], Iterator[Piece | Skipped]]


def record(text: Any, line: int, column: str) -> Piece | Skipped:
    """The document that a record's text is, or why it cannot be one."""
    if not isinstance(text, str):
        return Skipped(line, f"{column!r} is {_name(text)}, expected text")
    if not text or text.isspace():
        return Skipped(line, f"{column!r} is empty")
    if "\0" in text:
        return Skipped(line, f"{column!r} holds a NUL character: binary data, not text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return Skipped(line, f"{column!r} is not UTF-8 text, or holds a lone surrogate")
    return Piece(text.replace("\r\n", "\n"), True)


def _name(value: Any) -> str:
    return "null" if value is None else f"{value!r:.40}"


def lines(file: TextFile) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their ends, numbered from 1, without the byte order mark.

    Raises FileFormatError for one of more than `MAX_RECORD` bytes.
    """
    with file.open() as opened:
        first = opened.readline(MAX_RECORD + 1)
        line, number = first[text_start(file.path, first[:4]) :], 1
        while line:
            if len(line) > MAX_RECORD:
                reason = f"a line of more than {MAX_RECORD:,} bytes: too large for a record, or not a file of lines"
                raise FileFormatError(file.path, reason, line=number)
            yield number, line
            line, number = opened.readline(MAX_RECORD + 1), number + 1


def text_start(path: Path, first_bytes: bytes) -> int:
    """The length of UTF-8's byte order mark where a file begins with it; that of another encoding is refused."""
    if encoding := wide_encoding(first_bytes):
        raise FileFormatError(path, f"{encoding} text by its byte order mark; convert the file to UTF-8", 0)
    return len(codecs.BOM_UTF8) if first_bytes.startswith(codecs.BOM_UTF8) else 0


def wide_encoding(first_bytes: bytes) -> str | None:
    """UTF-16 or UTF-32, where a byte order mark says so."""
    return next((encoding for mark, encoding in _WIDE_BOMS.items() if first_bytes.startswith(mark)), None)


def check_column(
    path: Path,
    column: str,
    columns: Iterable[str],
    *,
    line: int | None = None,
    how: str = "choose it with text_column",
) -> None:
    """Raise FileFormatError where `column` is not among them, with the nearest that is. how: what to do about it."""
    there = list(columns)
    if column in there:
        return
    near = difflib.get_close_matches(column, there, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(f"{name!r:.40}" for name in there[:20]) + (", ..." if len(there) > 20 else "")
    reason = f"no column {column!r}; there {'is' if len(there) == 1 else 'are'} {shown or 'none'}{hint}"
    raise FileFormatError(path, f"{reason} ({how})", line=line)
