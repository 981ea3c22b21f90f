"""Each record once an epoch, in an order of its own."""

from __future__ import annotations

import numpy as np

from ...errors import TinylmError

__all__ = ["EpochOrder"]

_SITE = 0x0DE2  # keeps these draws apart from others of the same seed


class EpochOrder:
    """The number of the record that is taken at each position of an endless sequence of epochs.

    A function of (seed, position) alone, so that there is nothing to save for a resume. count: records. Memory: 8 bytes
    each, for the epoch asked about last.
    """

    def __init__(self, count: int, seed: int):
        if count < 1 or not 0 <= seed < 2**64:
            raise TinylmError(
                f"an order takes a record or more and a seed of 0 to 2^64 - 1, received {count} and {seed}"
            )
        self.count, self.seed = count, seed
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def __getitem__(self, position: int) -> int:
        epoch, at = divmod(position, self.count)
        if self._epoch[0] != epoch:
            random = np.random.Philox(key=_SITE << 64 | self.seed, counter=epoch << 128)
            self._epoch = (epoch, np.argsort(random.random_raw(self.count), kind="stable"))
        return int(self._epoch[1][at])

    def rows(self, step: int, batch_size: int, rows: slice | None = None) -> list[int]:
        """The numbers of the records of a step's batch, or of a slice of its rows."""
        return [self[step * batch_size + row] for row in range(batch_size)[rows or slice(None)]]
