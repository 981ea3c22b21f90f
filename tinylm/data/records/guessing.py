"""Which column each field comes from: as the user says, by the columns' names, or by what stands in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import FileFormatError
from ..readers.base import check_column
from .fields import FIELDS

__all__ = ["choose_columns"]

Sample = Sequence[Mapping[str, Any]]

_IN_ORDER = (("source", "target"), ("anchor", "positive"))  # two fields that two columns hold, whatever their names


def choose_columns(
    path: Path, sample: Sample, fields: Mapping[str, str | None] | None, optional: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The column of each field, and of those that were guessed once more.

    sample: the first rows. fields: the column of each field, None to guess it; None for all columns under their own
    names. optional: fields that may be missing. Raises FileFormatError with the columns that there are.
    """
    columns = list(dict.fromkeys(column for row in sample for column in row))
    if fields is None:
        return {column: column for column in columns}, {}
    chosen = {field: column for field, column in fields.items() if column is not None}
    for field, column in chosen.items():
        check_column(path, column, columns, how=f"name another for {field!r}")
    wanted = [field for field in fields if field not in chosen]
    guessed = _by_name(wanted, [column for column in columns if column not in chosen.values()])
    missing = [field for field in wanted if field not in guessed and field not in optional]
    used = {*chosen.values(), *guessed.values()}
    guessed |= _by_content(path, missing, [column for column in columns if column not in used], sample)
    if lacking := [field for field in missing if field not in guessed]:
        shown = ", ".join(f"{column!r:.40}" for column in columns[:20]) or "none"
        raise FileFormatError(
            path,
            f"no column for {' and '.join(map(repr, lacking))} among {shown}; name it: "
            f"fields={{{lacking[0]!r}: COLUMN}}, --{lacking[0].replace('_', '-')}-column COLUMN",
        )
    return {field: chosen.get(field) or guessed[field] for field in fields if field in {*chosen, *guessed}}, guessed


def _by_name(wanted: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    plain = {column.strip().lower().replace(" ", "_").replace("-", "_"): column for column in reversed(columns)}
    found: dict[str, str] = {}
    for field in wanted:
        names = FIELDS[field].names if field in FIELDS else (field,)
        free = (plain[name] for name in names if name in plain and plain[name] not in found.values())
        if column := next(free, None):
            found[field] = column
    return found


def _by_content(path: Path, missing: Sequence[str], columns: Sequence[str], sample: Sample) -> dict[str, str]:
    """The only column there is; the two of a pair in order; the labels that repeat and the longest text."""
    found: dict[str, str] = {}
    if len(missing) == len(columns) and (len(missing) == 1 or tuple(missing) in _IN_ORDER):
        found = dict(zip(missing, columns, strict=True))
    elif {*missing} <= {"text", "label"}:
        for field, column in (("label", _label_column(columns, sample)), ("text", _text_column(columns, sample))):
            if field in missing and column is not None and column not in found.values():
                found[field] = column
    for column in found.values():
        if any(row.get(column) == column for row in sample):
            reason = f"the first row looks like data, not like names: {column!r:.40} stands in the column again"
            raise FileFormatError(path, f"{reason}; name the columns of a file without a header with header=[...]")
    return found


def _label_column(columns: Sequence[str], sample: Sample) -> str | None:
    """The one with the fewest values that repeat; None where none does."""
    counts = {column: Counter(str(row.get(column)) for row in sample) for column in columns}
    repeating = {column: len(values) for column, values in counts.items() if 2 <= len(values) <= len(sample) / 2}
    return min(repeating, key=repeating.__getitem__, default=None)


def _text_column(columns: Sequence[str], sample: Sample) -> str | None:
    """The one with the most characters; None where none holds text."""
    sizes = {column: sum(len(row[column]) for row in sample if isinstance(row.get(column), str)) for column in columns}
    return max((column for column in columns if sizes[column]), key=sizes.__getitem__, default=None)
