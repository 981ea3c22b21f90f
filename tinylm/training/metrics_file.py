"""metrics.jsonl: one JSON object a line, appended as a run goes on; a kill can cut only its last line."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, TinylmError
from ..files import parse_json, write_atomically

__all__ = ["append_record", "encode_json", "read_metrics", "truncate_records"]


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, in its order; [] where there is none yet.

    A last line that a kill cut short is left out. Raises FileFormatError for any other that is no object.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        return []
    *lines, tail = raw.split(b"\n")
    records, start = [], 0
    for line in lines:
        records.append(_parse(line, file, start))
        start += len(line) + 1
    with contextlib.suppress(FileFormatError):  # half an object is never an object
        records.append(_parse(tail, file, start))
    return records


def append_record(file: Path, record: Mapping[str, Any]) -> None:
    """Add a line, out of this process when it returns. Raises OSError where the disk fails."""
    line = encode_json(record, file.name) + b"\n"
    if _is_torn(file):  # by a kill: this line must not continue that one
        _write(file, read_metrics(file))
    with open(file, "ab") as opened:
        opened.write(line)


def truncate_records(file: Path, after_step: int) -> None:
    """Drop the lines from the first on whose "step" is later than `after_step`."""
    records = read_metrics(file)
    later = (i for i, record in enumerate(records) if _step(record) > after_step)
    _write(file, records[: next(later, len(records))])


def encode_json(value: Mapping[str, Any], what: str, indent: int | None = None) -> bytes:
    """JSON that every reader takes: null for NaN and infinity, NumPy's numbers as numbers, paths as text.

    what: names the value in the TinylmError for what JSON cannot hold.
    """
    try:
        return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=indent).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise TinylmError(f"{what}: not what JSON can hold: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return _plain(os.fspath(value))
    if isinstance(value, str):  # a file name on the command line may hold bytes that are no text
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _parse(line: bytes, file: Path, start: int) -> dict[str, Any]:
    value = parse_json(line, file, start=start)
    if not isinstance(value, dict):
        raise FileFormatError(file, "a line that is no JSON object", start)
    return value


def _write(file: Path, records: list[dict[str, Any]]) -> None:
    write_atomically(file, b"".join(encode_json(record, file.name) + b"\n" for record in records))


def _is_torn(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size == 0:
        return False
    with open(file, "rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read() != b"\n"


def _step(record: Mapping[str, Any]) -> float:
    step = record.get("step")
    return step if isinstance(step, int | float) else -math.inf
