"""Which documents repeat an earlier one, exactly."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["Repeats"]

_RECENT = 1 << 18  # hashes kept one by one (25 MB) before they join the sorted ones


class Repeats:
    """Recognises documents that came before, by hashes of 16 bytes: two different texts never share one in practice.

    Memory: 16 bytes a document, and about 100 bytes for each of the recent ones: 2^18 of them, or a quarter of all.
    """

    def __init__(self) -> None:
        self._sorted = np.zeros(0, "S16")  # compared with trailing zero bytes, as all have 16
        self._recent: set[bytes] = set()

    def seen(self, text: str) -> bool:
        """Whether this text has been asked about before."""
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
        if digest in self._recent or self._among_sorted(digest):
            return True
        self._recent.add(digest)
        if len(self._recent) >= max(_RECENT, len(self._sorted) // 4):
            self._sorted = np.sort(np.concatenate([self._sorted, np.array(list(self._recent), "S16")]))
            self._recent.clear()
        return False

    def _among_sorted(self, digest: bytes) -> bool:
        key = np.array(digest, "S16")
        at = int(self._sorted.searchsorted(key))
        return at < len(self._sorted) and bool(self._sorted[at] == key)
