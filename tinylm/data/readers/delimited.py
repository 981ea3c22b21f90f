"""CSV and TSV: a table with a header, one of its columns the text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ...errors import FileFormatError
from .base import MAX_RECORD, Piece, Skipped, TextFile, check_column, lines, record

__all__ = ["read_csv", "read_tsv"]


def read_csv(file: TextFile) -> Iterator[Piece | Skipped]:
    """A document for each row below the header; fields may be quoted and then span lines (RFC 4180).

    A row of another width than the header's, or with a quote out of place, is skipped. Raises FileFormatError for a
    column that is not there or there twice, and for a quoted field that never ends.
    """
    return _read(file, ",")


def read_tsv(file: TextFile) -> Iterator[Piece | Skipped]:
    """The same with tabs between the fields."""
    return _read(file, "\t")


def _read(file: TextFile, delimiter: str) -> Iterator[Piece | Skipped]:
    # Bytes that are not UTF-8 become lone surrogates, which `record` refuses in the text and nowhere else.
    texts = (line.decode("utf-8", "surrogateescape") for _, line in lines(file))
    rows = _rows(file, csv.reader(texts, delimiter=delimiter, strict=True))
    header: list[str] | None = None
    for number, row in rows:
        if isinstance(row, str):
            yield Skipped(number, row)
        elif header is None:
            check_column(file.path, file.column, row, line=number)
            if Counter(row)[file.column] > 1:
                raise FileFormatError(file.path, f"the column {file.column!r} is there twice", line=number)
            header, at = row, row.index(file.column)
        elif len(row) != len(header):
            yield Skipped(number, f"a row of {len(row)} fields, expected {len(header)} as in the header")
        else:
            yield record(row[at], number, file.column)


def _rows(file: TextFile, reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Each row that is not blank with the line it begins in; a text is what is wrong with one."""
    while True:
        number = reader.line_num + 1
        limit = csv.field_size_limit(MAX_RECORD)  # it belongs to the whole process: ours for this row alone
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field larger" in str(error) or "unexpected end" in str(error):
                reason = f"a quoted field that begins in this row does not end ({error})"
                raise FileFormatError(file.path, reason, line=number) from None
            yield number, f"malformed CSV: {error}"
            continue
        finally:
            csv.field_size_limit(limit)
        if row:
            yield number, row
