"""Which documents repeat an earlier one, exactly."""

from __future__ import annotations

import numpy as np

__all__ = ["DIGEST_BYTES", "Repeats"]

DIGEST_BYTES = 16
_DTYPE = f"S{DIGEST_BYTES}"  # compared with trailing zero bytes, as all are this long
_RECENT = 1 << 18  # hashes kept one by one (25 MB) before they join the sorted ones


class Repeats:
    """Recognises documents that came before, by hashes of 16 bytes: two different texts never share one in practice.

    Memory: 16 bytes a document, and about 100 bytes for each of the recent ones: 2^18 of them, or a quarter of all.
    """

    def __init__(self) -> None:
        self._sorted = np.zeros(0, _DTYPE)
        self._recent: set[bytes] = set()

    def seen(self, digest: bytes) -> bool:
        """Whether this hash, BLAKE2b of `DIGEST_BYTES`, has been asked about before."""
        if digest in self._recent or self._among_sorted(digest):
            return True
        self._recent.add(digest)
        if len(self._recent) >= max(_RECENT, len(self._sorted) // 4):
            self._sorted = np.sort(np.concatenate([self._sorted, np.array(list(self._recent), _DTYPE)]))
            self._recent.clear()
        return False

    def _among_sorted(self, digest: bytes) -> bool:
        key = np.array(digest, _DTYPE)
        at = int(self._sorted.searchsorted(key))
        return at < len(self._sorted) and bool(self._sorted[at] == key)
