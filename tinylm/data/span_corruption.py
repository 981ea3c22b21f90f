"""Span corruption: the source leaves out some spans of a text, the target tells them. What T5 was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import TinylmError
from .batches import IGNORE
from .padding import pad_rows

__all__ = ["corrupt_spans", "corrupted_batch"]

_SITE = 0x5BA7  # keeps these draws apart from others of the same seed


def corrupt_spans(
    ids: np.ndarray,
    *,
    seed: int,
    step: int,
    row: int,
    sentinels: Sequence[int],
    end_id: int,
    rate: float = 0.15,
    mean_length: float = 3.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(source, target) of one text (T,): a left-out span is a sentinel in the source, and follows it in the target.

    end_id ends both. sentinels: the ids that stand for spans, in their order; a text has no more spans than there are
    of them. rate: the share of tokens that is left out; mean_length: of a span. A function of (seed, step, row) and the
    text. Source: Raffel et al. 2020, arXiv:1910.10683, section 3.1.4.
    """
    if len(ids) < 2 or not sentinels or not 0 < rate < 1 or mean_length < 1:
        raise TinylmError(
            f"corrupt_spans takes at least 2 ids and 1 sentinel, 0 < rate < 1 and mean_length >= 1, received "
            f"{len(ids)}, {len(sentinels)}, {rate} and {mean_length}"
        )
    random = np.random.Generator(np.random.Philox(key=_SITE << 64 | seed, counter=step << 128 | row << 64))
    left_out = min(max(round(rate * len(ids)), 1), len(ids) - 1)
    spans = min(max(round(left_out / mean_length), 1), len(sentinels), left_out, len(ids) - left_out)
    lost, kept = _cut(random, left_out, spans), _cut(random, len(ids) - left_out, spans)
    source: list[np.ndarray] = []
    target: list[np.ndarray] = []
    at = 0
    for sentinel, before, length in zip(sentinels, kept, lost, strict=False):  # a span follows what is kept before it
        mark = np.array([sentinel], ids.dtype)
        source += [ids[at : at + before], mark]
        target += [mark, ids[at + before : at + before + length]]
        at += before + length
    end = np.array([end_id], ids.dtype)
    return np.concatenate([*source, ids[at:], end]), np.concatenate([*target, end])


def _cut(random: np.random.Generator, total: int, parts: int) -> np.ndarray:
    """Lengths of at least 1 that sum to total, all ways equally likely."""
    edges = np.sort(random.choice(total - 1, parts - 1, replace=False)) + 1 if parts > 1 else np.zeros(0, np.int64)
    return np.diff(np.concatenate([[0], edges, [total]])).astype(np.int64)


def corrupted_batch(
    ids: np.ndarray, *, seed: int, step: int, pad_id: int, first_row: int = 0, **settings: object
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(source, mask, targets) of a batch of texts (B, T), padded on the right: (B, S), (B, S) bool, (B, U).

    Targets are IGNORE where they are padding. settings: those of `corrupt_spans`.
    """
    pairs = [
        corrupt_spans(row, seed=seed, step=step, row=first_row + at, **settings)  # type: ignore[arg-type]
        for at, row in enumerate(ids)
    ]
    source, mask = pad_rows([pair[0] for pair in pairs], pad_id)
    return source, mask, pad_rows([pair[1] for pair in pairs], IGNORE)[0]
