"""Texts as vectors: an encoder's hidden states, pooled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinylm.autograd import Tensor, no_grad
from tinylm.autograd import functional as F
from tinylm.data import Progress, pad_rows
from tinylm.errors import TinylmError
from tinylm.formats import Pooling
from tinylm.models import Encoder
from tinylm.text import PipelineTokenizer, Tokenizer, Truncation

__all__ = ["encoder_rows", "encoder_tokenizer", "pooled_vectors", "sentence_vectors", "unit"]

SHORTEST = 1e-12  # no vector is divided by a length below it, as in torch's normalize


def encoder_tokenizer(tokenizer: Tokenizer) -> PipelineTokenizer:
    """The tokenizer. Raises TinylmError for one without special tokens around a text."""
    if not isinstance(tokenizer, PipelineTokenizer):
        raise TinylmError(f"{tokenizer!r} puts no special tokens around a text, as an encoder needs them")
    return tokenizer


def encoder_rows(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
    """The ids of each text with its special tokens, cut to max_tokens. Raises as `encoder_tokenizer`."""
    own, cut = encoder_tokenizer(tokenizer), Truncation(max_tokens)
    return [own.inputs(text, truncation=cut, padding=None).ids for text in texts]


def pooled_vectors(model: Encoder, rows: Sequence[np.ndarray], mode: str, length: int | None = None) -> Tensor:
    """One vector a text, (B, C), of their ids, as `Pooling.mode` says; padding does not count.

    length: what the rows are padded to, that of the longest where None.
    Source: Reimers and Gurevych 2019, arXiv:1908.10084, section 3.
    """
    ids, mask = pad_rows(rows, model.config.pad_token_id or 0, length)
    x = model.hidden(ids, key_mask=None if mask.all() else mask)  # (B, T, C)
    if mode == "first":
        return x[:, 0]
    if mode == "max":
        return F.where(mask[..., None], x, x.dtype.type(-np.inf)).max(axis=1)
    shares = (mask / mask.sum(axis=1, keepdims=True)).astype(x.dtype)
    return (x * shares[..., None]).sum(axis=1)


def unit(x: Tensor) -> Tensor:
    """The vectors (..., C) with length 1."""
    return x / F.maximum(F.sqrt((x * x).sum(axis=-1, keepdims=True)), x.dtype.type(SHORTEST))


def sentence_vectors(
    model: Encoder,
    rows: Sequence[np.ndarray],
    pooling: Pooling,
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> np.ndarray:
    """The vectors (N, C) float32 of N texts, given as the ids of each with its special tokens.

    Texts of like lengths go through the model together. batch_size: texts at a time. progress: told how many are done.
    """
    vectors = np.zeros((len(rows), model.config.hidden_size), np.float32)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        with no_grad():
            found = pooled_vectors(model, [rows[row] for row in chosen], pooling.mode)
            vectors[chosen] = (unit(found) if pooling.normalize else found).data
        if progress is not None:
            progress("embedding", first + len(chosen), len(rows))
    return vectors
