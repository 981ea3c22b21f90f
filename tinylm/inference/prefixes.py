"""Caches of texts that were written, for the texts that begin like them: what is common is not computed again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from .cache import SequenceCache

__all__ = ["PrefixStore"]

# Fewer tokens in common are read again rather than copied.
FEWEST = 8


class PrefixStore:
    """Keeps caches with the tokens that they hold, up to `most` bytes; the least recently used ones go.

    A text that goes on from all of a kept one takes its cache over; one that leaves it somewhere gets a copy of what
    they have in common. Safe from several threads.
    """

    def __init__(self, most: int):
        self.most = most
        self._kept: list[tuple[np.ndarray, SequenceCache]] = []  # the least recently used first
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """What the kept caches take."""
        return sum(cache.nbytes for _, cache in self._kept)

    def take(self, ids: Sequence[int]) -> SequenceCache | None:
        """A cache of the longest beginning of ids that is known, its length; None where nothing is."""
        wanted = np.asarray(ids, np.int64)
        with self._lock:
            common = [_common(wanted, known) for known, _ in self._kept]
            length = max(common, default=0)
            if length < FEWEST:
                return None
            at = common.index(length)
            known, cache = self._kept.pop(at)
            if length == len(known):
                return cache
            self._kept.append((known, cache))
            return cache.copy(length)

    def put(self, ids: Sequence[int], cache: SequenceCache, *, copied: bool = False) -> None:
        """Keep a cache that nobody uses any more, or a copy of it; ids: the tokens in it, and perhaps more."""
        if cache.length < FEWEST or cache.nbytes > self.most:
            return
        with self._lock:
            self._kept.append((np.array(ids[: cache.length], np.int64), cache.copy() if copied else cache))
            while self.nbytes > self.most:
                self._kept.pop(0)


def _common(a: np.ndarray, b: np.ndarray) -> int:
    """How many numbers both begin with."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length
