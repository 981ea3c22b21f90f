"""Reading the parts of a tokenizer.json strictly: each function names the first thing that is not as expected."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import FileFormatError

__all__ = ["check_keys", "is_same", "read_model"]


def check_keys(file: Path, what: str, fields: Any, known: Collection[str]) -> None:
    """Refuse what is no object, or has a field that nobody here knows."""
    if not isinstance(fields, dict):
        raise FileFormatError(file, f"{what} must be a JSON object, not {fields!r:.40}")
    if unknown := sorted(set(fields) - set(known)):
        raise FileFormatError(file, f"{what} has the unknown field {unknown[0]!r:.40}")


def read_model(file: Path, model: Any, options: Collection[str]) -> tuple[dict[str, int], list[Any]]:
    """The vocabulary of a BPE model, ids by token, and its merges as they are written."""
    # The first versions of the format did not write the type; merges are BPE's alone.
    if not isinstance(model, dict) or model.get("type", "BPE" if "merges" in model else None) != "BPE":
        raise FileFormatError(file, f"model {model!r:.80} is not supported; expected BPE")
    check_keys(file, "model", model, {"type", "vocab", "merges", *options})
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, dict):
        raise FileFormatError(file, f"vocab must be an object of ids by token, not {vocab!r:.40}")
    for token, id in vocab.items():
        if type(id) is not int:  # True is an int to isinstance
            raise FileFormatError(file, f"the id of {token!r:.40} must be a whole number, not {id!r:.40}")
    if not isinstance(merges, list):
        raise FileFormatError(file, f"merges must be a list, not {merges!r:.40}")
    return vocab, merges


def is_same(part: Any, expected: Any) -> bool:
    """Equal to the types: 0 is not false."""
    return json.dumps(part, sort_keys=True) == json.dumps(expected, sort_keys=True)
