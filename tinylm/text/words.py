"""Remembering what became of words: most words of a text are few words again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .split import LONGEST_WORD

__all__ = ["CACHE_BYTES", "KnownWords", "blocks", "in_blocks"]

CACHE_BYTES = 1 << 25  # what the words that are kept may take, about


class KnownWords(dict[str, Any]):
    """What a function makes of words, texts or bytes: made when first asked for, and kept while there is room."""

    def __init__(self, make: Callable[[str], Any]):
        super().__init__()
        self._make = make
        self._room = CACHE_BYTES

    def __missing__(self, word: str) -> Any:
        made = self._make(word)
        self._room -= 256 + len(word) + len(made)  # the strings and their place in the table take about 256
        if self._room < 0:
            self.clear()
            self._room = CACHE_BYTES
        self[word] = made
        return made


def in_blocks(encode: Callable[[str], list[int]], word: str) -> list[int]:
    """The ids of a word, of one longer than LONGEST_WORD those of its pieces of so many characters."""
    if len(word) <= LONGEST_WORD:
        return encode(word)
    known = KnownWords(encode)  # such a word may repeat itself
    return [id for _, block in blocks(word) for id in known[block]]


def blocks(word: str) -> Iterator[tuple[int, str]]:
    """The pieces of LONGEST_WORD characters of a word, each with where it begins."""
    return ((start, word[start : start + LONGEST_WORD]) for start in range(0, len(word), LONGEST_WORD))
