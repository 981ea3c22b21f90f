"""Texts as vectors: an encoder's hidden states, pooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinylm.autograd import no_grad
from tinylm.formats import Pooling
from tinylm.models import Encoder

__all__ = ["sentence_vectors"]


def sentence_vectors(
    model: Encoder, rows: Sequence[np.ndarray], pooling: Pooling, *, batch_size: int = 32
) -> np.ndarray:
    """The vectors (N, C) float32 of N texts, given as the ids of each with its special tokens.

    Texts of like lengths go through the model together; padding does not count. batch_size: texts at a time.
    Source: Reimers and Gurevych 2019, arXiv:1908.10084, section 3.
    """
    vectors = np.zeros((len(rows), model.config.hidden_size), np.float32)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        ids = np.zeros((len(chosen), len(rows[chosen[-1]])), np.int64)
        mask = np.zeros(ids.shape, bool)
        for at, row in enumerate(chosen):
            ids[at, : len(rows[row])] = rows[row]
            mask[at, : len(rows[row])] = True
        with no_grad():
            hidden = model.hidden(ids, key_mask=mask).data  # (B, T, C)
        vectors[chosen] = _pooled(hidden, mask, pooling.mode)
    if pooling.normalize:
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors


def _pooled(hidden: np.ndarray, mask: np.ndarray, mode: str) -> np.ndarray:
    if mode == "first":
        return hidden[:, 0]
    if mode == "max":
        return np.where(mask[..., None], hidden, -np.inf).max(axis=1)
    return (hidden * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
