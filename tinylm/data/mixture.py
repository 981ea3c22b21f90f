"""Batches from several sources, each with a weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import TinylmError

__all__ = ["Batches", "MixedBatches"]

_SITE = 0x50CE  # keeps these draws apart from others of the same seed


class Batches(Protocol):
    """Where training batches come from."""

    def train_batch(self, step: int, rows: slice | None = None) -> tuple[np.ndarray, ...]:
        """(inputs, targets, ...) of these rows of the batch of a step: a pure function of both."""


class MixedBatches:
    """Each row of a batch from the source that is drawn for it, with the probability of its weight.

    weights: positive, one a source; only their ratios count. The source of a row is a function of (seed, step, row),
    and its window the one that this source has at this step and row.
    """

    def __init__(self, sources: Sequence[Batches], weights: Sequence[float], *, batch_size: int, seed: int):
        if len(weights) != len(sources):
            raise TinylmError(f"{len(sources)} sources take as many weights, received {len(weights)}")
        if not all(0 < weight < math.inf for weight in weights):
            raise TinylmError(f"weights must be positive numbers, received {', '.join(map(str, weights))}")
        self.sources, self.batch_size, self.seed = tuple(sources), batch_size, seed
        self._edges = np.cumsum(weights)[:-1] / np.sum(weights)

    def source_of(self, step: int, row: int) -> int:
        """The number of the source of a row."""
        random = np.random.Philox(key=_SITE << 64 | self.seed, counter=step << 128 | row << 64)
        return int(np.searchsorted(self._edges, random.random_raw() / 2**64, "right"))

    def train_batch(self, step: int, rows: slice | None = None) -> tuple[np.ndarray, ...]:
        """The batch of a step, or a slice of its rows."""
        if step < 0:
            raise TinylmError(f"train_batch: step must be at least 0, received {step}")
        numbers = range(self.batch_size)[rows or slice(None)]
        found = [self.sources[self.source_of(step, row)].train_batch(step, slice(row, row + 1)) for row in numbers]
        return tuple(map(np.concatenate, zip(*found, strict=True)))
