"""Masked language modelling: hide some tokens of a batch, to be predicted from all the others."""

from __future__ import annotations

import numpy as np

from ..errors import TinylmError
from .batches import IGNORE

__all__ = ["mask_tokens"]

_SITE = 0x3A5C  # keeps these draws apart from others of the same seed


def mask_tokens(
    ids: np.ndarray,
    *,
    seed: int,
    step: int,
    mask_id: int,
    vocab_size: int,
    first_row: int = 0,
    special: np.ndarray | None = None,
    begins: np.ndarray | None = None,
    rate: float = 0.15,
) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets), both (B, T): of each row a share of `rate` is to be predicted, elsewhere targets are IGNORE.

    Of what is chosen, 80 % become mask_id, 10 % a random token and 10 % stay. special: (B, T) bool, tokens that are
    never chosen, such as padding. begins: (B, T) bool, where a word begins: words are then chosen as a whole.
    A row is a function of (seed, step, its number in the global batch) and its ids: slices of a batch that say where
    they begin, by first_row, see what the whole does. Source: Devlin et al. 2019, arXiv:1810.04805, section 3.1.
    """
    if not 0 < rate < 1:
        raise TinylmError(f"mask_tokens: rate is {rate}, expected 0 < rate < 1")
    inputs, targets = ids.copy(), np.full_like(ids, IGNORE)
    for at, row in enumerate(ids):
        random = np.random.Generator(
            np.random.Philox(key=_SITE << 64 | seed, counter=step << 128 | (first_row + at) << 64)
        )
        allowed = np.ones(len(row), bool) if special is None else ~special[at]
        units = np.arange(len(row)) if begins is None else np.cumsum(begins[at])  # the word that a token belongs to
        hidden = _choose(random, units, allowed, rate)
        fate, words = random.random(len(row)), random.integers(0, vocab_size, len(row))
        targets[at, hidden] = row[hidden]
        inputs[at] = np.where(hidden & (fate < 0.8), mask_id, np.where(hidden & (fate < 0.9), words, row))
    return inputs, targets


def _choose(random: np.random.Generator, units: np.ndarray, allowed: np.ndarray, rate: float) -> np.ndarray:
    """Whole units in random order until a share of `rate` of the allowed tokens, one at least, is chosen: (T,) bool."""
    wanted = max(round(rate * int(allowed.sum())), 1)
    present = np.unique(units[allowed])
    chosen = np.zeros(len(units), bool)
    for unit in random.permutation(present):
        members = (units == unit) & allowed
        if chosen.sum() and chosen.sum() + members.sum() > wanted:
            continue
        chosen |= members
        if chosen.sum() >= wanted:
            break
    return chosen
