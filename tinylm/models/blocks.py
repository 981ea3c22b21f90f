"""How models run their blocks, and where tokens stand in rows of several texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinylm.autograd import Tensor, checkpoint
from tinylm.nn import Module

__all__ = ["call_block", "document_sight", "padded_positions"]


def call_block(block: Module, x: Tensor, *, again: bool, **seen: Any) -> Tensor:
    """block(x, **seen); again: the backward pass computes it again, instead of keeping what lies inside it.

    Tensors among what is seen, such as a bias that all blocks share, get their gradients either way.
    """
    if not again:
        return block(x, **seen)
    return checkpoint(lambda x, *values: block(x, **dict(zip(seen, values, strict=True))), x, *seen.values())


def document_sight(documents: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """(bias, positions) of rows that hold several texts, for tokens to see those of their own text alone.

    documents: (B, T) integers; each run of equal ones is a text. bias: (B, 1, T, T), to be added to scores, 0 within a
    text and -inf elsewhere. positions: (B, T), which begin anew with each text.
    """
    B, T = documents.shape
    begins = np.zeros((B, T), np.int64)
    begins[:, 1:] = np.where(documents[:, 1:] != documents[:, :-1], np.arange(1, T), 0)
    begins = np.maximum.accumulate(begins, axis=1)
    apart = begins[:, None, :, None] != begins[:, None, None, :]
    return np.where(apart, dtype.type(-np.inf), dtype.type(0)), np.arange(T) - begins


def padded_positions(key_mask: np.ndarray) -> np.ndarray:
    """(B, T): where each token of rows with padding before them stands in its text. key_mask: (B, T) bool."""
    return np.maximum(key_mask.cumsum(axis=1) - 1, 0)
