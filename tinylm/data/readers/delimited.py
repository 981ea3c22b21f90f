"""CSV and TSV: a table with a header, one of its columns the text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence

from ...errors import FileFormatError
from .base import MAX_RECORD, Piece, Row, Skipped, TextFile, check_column, lines, record

__all__ = ["read_csv", "read_tsv", "table_rows"]


def read_csv(file: TextFile) -> Iterator[Piece | Skipped]:
    """A document for each row below the header; fields may be quoted and then span lines (RFC 4180).

    A row of another width than the header's, or with a quote out of place, is skipped. Raises FileFormatError for a
    column that is not there or there twice, and for a quoted field that never ends.
    """
    return _read(file, ",")


def read_tsv(file: TextFile) -> Iterator[Piece | Skipped]:
    """The same with tabs between the fields."""
    return _read(file, "\t")


def table_rows(file: TextFile, delimiter: str, header: Sequence[str] | None = None) -> Iterator[Row | Skipped]:
    """Each row with all of its fields. header: the names of the columns where the file does not begin with them.

    A column without a name is called by its number, "column 3". Raises FileFormatError for a name that is there twice.
    """
    names = list(header) if header is not None else None
    for number, row in _rows(file, delimiter):
        if names is None:
            if isinstance(row, str):
                raise FileFormatError(file.path, row, line=number)
            names = [name or f"column {at}" for at, name in enumerate(row, 1)]
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise FileFormatError(file.path, f"the column {twice[0]!r} is there twice; rename one", line=number)
        elif isinstance(row, str):
            yield Skipped(number, row)
        elif len(row) != len(names):
            yield _ragged(number, row, names)
        else:
            yield Row(number, dict(zip(names, row, strict=True)))


def _ragged(number: int, row: Sequence[str], header: Sequence[str]) -> Skipped:
    return Skipped(number, f"a row of {len(row)} fields, expected {len(header)} as in the header")


def _read(file: TextFile, delimiter: str) -> Iterator[Piece | Skipped]:
    header: list[str] | None = None
    for number, row in _rows(file, delimiter):
        if header is None:
            header, at = _check_header(file, row, number)
        elif isinstance(row, str):
            yield Skipped(number, row)
        elif len(row) != len(header):
            yield _ragged(number, row, header)
        else:
            yield record(row[at], number, file.column)


def _check_header(file: TextFile, row: list[str] | str, number: int) -> tuple[list[str], int]:
    """The names of the columns, and which of them is the text."""
    if isinstance(row, str):
        raise FileFormatError(file.path, row, line=number)
    check_column(file.path, file.column, row, line=number)
    if Counter(row)[file.column] > 1:
        raise FileFormatError(file.path, f"the column {file.column!r} is there twice", line=number)
    return row, row.index(file.column)


def _rows(file: TextFile, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not blank with the line it begins in; a text is what is wrong with one."""
    texts = _RowLines(file)
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    while True:
        number, texts.size = reader.line_num + 1, 0
        limit = csv.field_size_limit(MAX_RECORD)  # it belongs to the whole process: ours for this row alone
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                reason = "the file ends inside a quoted field that begins in this row"
                raise FileFormatError(file.path, reason, line=number) from None
            yield number, f"malformed CSV: {error}"
            continue
        finally:
            csv.field_size_limit(limit)
        if row:
            yield number, row


class _RowLines:
    """The lines of a file for the csv module, and the characters taken since `size` was set to 0.

    Bytes that are not UTF-8 become lone surrogates, which `record` refuses in the text and nowhere else.
    """

    def __init__(self, file: TextFile):
        self._file, self._lines, self.size = file, lines(file), 0

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.size += len(line)
        if self.size > MAX_RECORD:
            reason = f"a row of more than {MAX_RECORD:,} bytes ends here, or does not end: is a quote never closed?"
            raise FileFormatError(self._file.path, reason, line=number)
        return line.decode("utf-8", "surrogateescape")
