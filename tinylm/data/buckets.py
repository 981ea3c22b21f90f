"""Batches of texts of like lengths, which need little padding."""

from __future__ import annotations

import numpy as np

from ..errors import TinylmError

__all__ = ["LengthBuckets"]

_SITE = 0xB0C7  # keeps these draws apart from others of the same seed
CHUNK = 32  # batches that are sorted together: the larger, the less padding, and the less chance in a batch


class LengthBuckets:
    """The numbers of the texts of each batch: all of an epoch in an order of chance, neighbours in length together.

    In an epoch the texts are shuffled, cut into chunks of 32 batches, sorted by length within each, cut into batches,
    and the batches shuffled. Those that fill no batch, others in each epoch, are left out; of fewer texts than a batch
    has rows some come twice. A function of (seed, step, row) alone.
    """

    def __init__(self, lengths: np.ndarray, *, batch_size: int, seed: int):
        if not len(lengths) or batch_size < 1 or not 0 <= seed < 2**64:
            raise TinylmError(f"batches take texts, a size and a seed, received {len(lengths)}, {batch_size}, {seed}")
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self.batches = max(len(lengths) // batch_size, 1)  # in an epoch
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros((0, 0), np.int64))

    def rows(self, step: int) -> np.ndarray:
        """The numbers of the texts of the global batch of a step, (batch_size,) int64."""
        epoch, at = divmod(step, self.batches)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._order(epoch))
        return self._epoch[1][at]

    def _order(self, epoch: int) -> np.ndarray:
        """(batches, batch_size)."""
        random = np.random.Philox(key=_SITE << 64 | self.seed, counter=epoch << 128)
        shuffled = np.argsort(random.random_raw(len(self.lengths)), kind="stable")
        chosen = np.resize(shuffled, self.batches * self.batch_size)
        size = CHUNK * self.batch_size
        chunks = [chosen[first : first + size] for first in range(0, len(chosen), size)]
        by_length = np.concatenate([chunk[np.argsort(self.lengths[chunk], kind="stable")] for chunk in chunks])
        order = np.argsort(random.random_raw(self.batches), kind="stable")
        return by_length.reshape(self.batches, self.batch_size)[order]
