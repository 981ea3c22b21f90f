"""Batches for language modelling: windows of a token stretch, and the same windows one token later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import TinylmError
from .tokens import Ids, TokenSplit

__all__ = ["IGNORE", "LanguageModelBatches", "check_batch"]

IGNORE = -100  # the target that does not count, the same as tinylm_kernels.IGNORE

_SITE = 0xDA7A  # keeps these draws apart from others of the same seed


def check_batch(batch_size: int, context: int, seed: int) -> None:
    """Raise TinylmError for settings that make no batch."""
    if batch_size < 1 or context < 1:
        raise TinylmError(f"batch_size and context must be at least 1, received {batch_size} and {context}")
    if not 0 <= seed < 2**64:
        raise TinylmError(f"seed must be from 0 to 2^64 - 1, received {seed}")


class LanguageModelBatches:
    """(inputs, targets), both (B, T) int32: the target of a token is the token after it.

    split: more than `context` tokens. batch_size: B, rows; context: T, tokens a row; seed: 0..2^64-1.
    There is no state: a training batch is a function of (seed, step, row) alone, so a run that resumes, and
    ranks or micro-batches that each take a slice of the rows, see the very same windows.
    """

    def __init__(self, split: TokenSplit, *, batch_size: int, context: int, seed: int):
        check_batch(batch_size, context, seed)
        if len(split) < context + 1:
            shorter = max(len(split) // 2, 1)
            raise TinylmError(
                f"a text of {len(split):,} tokens is too short for a context of {context:,}, which takes "
                f"{context + 1:,}; give more text, or set a shorter context (--set context={shorter})"
            )
        self.split, self.batch_size, self.context, self.seed = split, batch_size, context, seed

    def train_batch(self, step: int, rows: slice | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The batch of a step, or a slice of its rows: windows that begin anywhere, equally likely."""
        if step < 0:
            raise TinylmError(f"train_batch: step must be at least 0, received {step}")
        numbers = range(self.batch_size)[rows or slice(None)]
        starts = [self._start(step, row) for row in numbers]
        return self._windows(starts, self.split.ids)

    def validation_batches(
        self, batch_size: int | None = None, *, limit: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The whole stretch once, in order: every token but the first is a target exactly once.

        batch_size: rows, as in training by default; the last batch may have fewer. The last row is filled up
        with targets of IGNORE (and inputs of 0). limit: stop after that many targets.
        """
        batch_size = self.batch_size if batch_size is None else batch_size
        if batch_size < 1 or (limit is not None and limit < 1):
            raise TinylmError(f"batch_size and limit must be at least 1, received {batch_size} and {limit}")
        count = len(self.split) - 1 if limit is None else min(len(self.split) - 1, limit)
        ids = self.split.ids[: count + 1]
        starts = range(0, count, self.context)
        for first in range(0, len(starts), batch_size):
            yield self._windows(starts[first : first + batch_size], ids)

    def _start(self, step: int, row: int) -> int:
        """Uniform over 0..N-T-1."""
        return self._draw(step, row, len(self.split) - self.context)

    def _draw(self, step: int, row: int, below: int) -> int:
        """Uniform over 0..below-1. The counter's lowest word is the generator's own, to count draws with."""
        random = np.random.Philox(key=_SITE << 64 | self.seed, counter=step << 128 | row << 64)
        return int(random.random_raw()) * below >> 64

    def _windows(self, starts: Sequence[int], ids: Ids) -> tuple[np.ndarray, np.ndarray]:
        """The windows of T + 1 ids that begin at `starts`; what lies past the end of `ids` is filled up."""
        inputs = np.zeros((len(starts), self.context), np.int32)
        targets = np.full_like(inputs, IGNORE)
        for row, start in enumerate(starts):
            window = np.asarray(ids[start : start + self.context + 1])
            inputs[row, : len(window) - 1] = window[:-1]
            targets[row, : len(window) - 1] = window[1:]
        return inputs, targets
