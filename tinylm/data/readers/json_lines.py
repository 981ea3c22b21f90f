"""JSON Lines: an object a line, one of its fields the text."""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import FileFormatError
from ...files import parse_json
from .base import Piece, Row, Skipped, TextFile, check_column, lines, record

__all__ = ["object_rows", "read_json_lines"]


def read_json_lines(file: TextFile) -> Iterator[Piece | Skipped]:
    """A document for each line that is not blank; a line that is no object, or whose text is none, is skipped.

    Raises FileFormatError where already the first object lacks the field. Source: https://jsonlines.org
    """
    checked = False
    for item in object_rows(file):
        if isinstance(item, Skipped):
            yield item
            continue
        if not checked:
            check_column(file.path, file.column, item.fields, line=item.line)
            checked = True
        if file.column not in item.fields:
            yield Skipped(item.line, f"no field {file.column!r}")
            continue
        yield record(item.fields[file.column], item.line, file.column)


def object_rows(file: TextFile) -> Iterator[Row | Skipped]:
    """The object of each line that is not blank; other lines are skipped."""
    for number, line in lines(file):
        if line.isspace():
            continue
        try:
            fields = parse_json(line, file.path)
        except FileFormatError as error:
            yield Skipped(number, error.reason)
            continue
        if isinstance(fields, dict):
            yield Row(number, fields)
        else:
            yield Skipped(number, f"expected a JSON object, received {type(fields).__name__}")
