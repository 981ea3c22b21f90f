"""How often each character comes in a text that arrives in pieces."""

from __future__ import annotations

import numpy as np

__all__ = ["CharacterCounts"]

_CODES = 0x110000  # code points of Unicode
_TOGETHER = 1 << 17  # characters that are counted together


class CharacterCounts:
    """Counts code points, many pieces together. Memory: 9 MB, and as much again where the text has rare characters."""

    def __init__(self) -> None:
        self._counts = np.zeros(_CODES, np.int64)
        self._waiting: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Count a piece."""
        self._waiting.append(text)
        self._size += len(text)
        if self._size >= _TOGETHER:
            self._count_waiting()

    def counts(self) -> np.ndarray:
        """The counts by code point, (0x110000,) int64."""
        self._count_waiting()
        return self._counts

    def _count_waiting(self) -> None:
        text = "".join(self._waiting)
        for start in range(0, len(text), _TOGETHER):
            part = text[start : start + _TOGETHER].encode("utf-32-le", "surrogatepass")
            found = np.bincount(np.frombuffer(part, "<u4"))
            self._counts[: len(found)] += found
        self._waiting.clear()
        self._size = 0
