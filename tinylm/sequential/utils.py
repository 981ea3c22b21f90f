"""Two helpers of Keras' that its tutorials prepare their arrays with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["pad_sequences", "to_categorical"]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows: whole numbers (...) to (..., num_classes) float32; num_classes is the largest plus 1 where None."""
    ids = np.asarray(x, np.int64)
    if ids.ndim > 1 and ids.shape[-1] == 1:
        ids = ids[..., 0]
    classes = int(ids.max()) + 1 if num_classes is None else num_classes
    if ids.size and (ids.min() < 0 or ids.max() >= classes):
        raise TinylmError(f"to_categorical: classes must lie in 0..{classes - 1}, received {ids.min()}..{ids.max()}")
    rows = np.zeros((ids.size, classes), np.float32)
    rows[np.arange(ids.size), ids.ravel()] = 1
    return rows.reshape(*ids.shape, classes)


def pad_sequences(
    sequences: Sequence[Sequence[float]],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> np.ndarray:
    """Rows of one length (N, maxlen): shorter ones filled with `value`, longer ones cut, at their start or end.

    maxlen: the length of the longest where None. padding, truncating: "pre" for the start, "post" for the end.
    """
    for argument, choice in (("padding", padding), ("truncating", truncating)):
        if choice not in ("pre", "post"):
            raise TinylmError(f"pad_sequences: {argument} is {choice!r}, expected 'pre' or 'post'")
    length = max((len(row) for row in sequences), default=0) if maxlen is None else maxlen
    padded = np.full((len(sequences), length), value, dtype)
    for target, row in zip(padded, sequences, strict=True):
        kept = list(row[max(len(row) - length, 0) :] if truncating == "pre" else row[:length])
        first = length - len(kept) if padding == "pre" else 0
        target[first : first + len(kept)] = kept
    return padded
