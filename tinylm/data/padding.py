"""Rows of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["pad_rows"]


def pad_rows(rows: Sequence[np.ndarray], filling: int, length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(array, mask), both (B, T): the rows, filled up on the right, and where they are none but filling.

    length: T; that of the longest row where None.
    """
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max() if length is None else length) < lengths[:, None]
    padded = np.full(mask.shape, filling, rows[0].dtype)
    padded[mask] = np.concatenate(rows)
    return padded, mask
