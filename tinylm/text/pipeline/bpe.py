"""Byte pair encoding of words of characters, with all that tokenizer.json can say about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from ..merging import Merges
from ..words import blocks, in_blocks
from .part import Part
from .vocabulary import Model, Place, byte_ids, read_vocabulary

__all__ = ["BPE"]

MARK = "▁"  # what SentencePiece writes for a space
WORDS = re.compile(f"{MARK}+[^{MARK}]*|[^{MARK}]+")


class BPE(Model):
    """Joins neighbours in a word as the merges say, beginning with its characters.

    A character that is no token becomes its bytes (`byte_fallback`) or the unknown token, of which several in a row
    are one where `fuse_unk` says so. ignore_merges: a word that is a token is that token, whatever the merges say.
    """

    def __init__(self, part: Part):
        self.ids = read_vocabulary(part)
        self._prefix = part.optional_text("continuing_subword_prefix") or ""
        self._suffix = part.optional_text("end_of_word_suffix") or ""
        dropout = part.any("dropout", None)
        if dropout not in (None, 0):
            part.refuse(f"has dropout = {dropout!r:.40}, which makes the ids random: not supported; expected null")
        self._unknown = self.ids.get(part.optional_text("unk_token") or "")
        self._fuse = part.flag("fuse_unk", False)
        self._bytes = byte_ids(self.ids) if part.flag("byte_fallback", False) else [None] * 256
        self._whole = part.flag("ignore_merges", False)
        halves = [self._halves(part, number, merge) for number, merge in enumerate(part.items("merges"))]
        self._merges = self._read_merges(part, halves)
        crosses = any(right[:1] == MARK and left[-1:] != MARK for left, right in halves)
        self._words_begin_with_mark = MARK in self.ids and not (crosses or self._whole or self._prefix or self._suffix)

    def _halves(self, part: Part, number: int, merge: Any) -> tuple[str, str]:
        """A merge, written "left right" or ["left", "right"]."""
        halves = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(halves, list) or len(halves) != 2:
            part.refuse(f"merge {number} must be two tokens, not {merge!r:.60}")
        for half in halves:
            if type(half) is not str or half not in self.ids:
                part.refuse(f"merge {number}, {merge!r:.60}: {half!r:.40} is not in the vocabulary")
        return halves[0], halves[1]

    def _read_merges(self, part: Part, halves: list[tuple[str, str]]) -> Merges:
        ids, cut = self.ids, len(self._prefix)
        products = []
        for number, (left, right) in enumerate(halves):
            product = ids.get(left + right[cut:])
            if product is None:
                part.refuse(f"merge {number} of {left!r:.40} and {right!r:.40} makes no token of the vocabulary")
            products.append(product)
        pairs = [(ids[left], ids[right]) for left, right in halves]
        if len(set(pairs)) < len(pairs):
            part.refuse("has a merge that appears twice")
        return Merges(pairs, products)

    def words(self, text: str) -> list[str]:
        """The text cut before each row of marks, where no merge joins across that place; else as it is."""
        return WORDS.findall(text) if self._words_begin_with_mark else [text]

    def __call__(self, word: str) -> list[int]:
        if self._whole and word in self.ids:
            return [self.ids[word]]
        if self._prefix or self._suffix:
            return self._encode(word)
        return in_blocks(self._encode, word)

    def places(self, word: str) -> Iterator[Place]:
        if self._whole and word in self.ids:
            yield self.ids[word], 0, len(word)
            return
        for begin, block in [(0, word)] if self._prefix or self._suffix else blocks(word):
            symbols = self._symbols(self._spell(block))
            merged = self._merges.merged([id for id, _, _ in symbols])
            begins = [at for at, id in enumerate(merged) if id >= 0]
            for at, after in pairwise([*begins, len(symbols)]):
                yield merged[at], begin + symbols[at][1], begin + symbols[after - 1][2]

    def _encode(self, word: str) -> list[int]:
        return self._merges.apply(self._characters(word))

    def _characters(self, word: str) -> list[int]:
        """The ids of the characters of a word."""
        spelt = self._spell(word)
        found = list(map(self.ids.get, spelt))
        return [id for id, _, _ in self._symbols(spelt)] if None in found else found  # type: ignore[return-value]

    def _spell(self, word: str) -> Sequence[str]:
        """The characters, with the prefix of those within the word and the suffix of the last."""
        if not (self._prefix or self._suffix):
            return word
        spelt = [word[0], *(self._prefix + character for character in word[1:])]
        spelt[-1] += self._suffix
        return spelt

    def _symbols(self, spelt: Sequence[str]) -> list[Place]:
        """What the merges begin with: characters, bytes, and unknown tokens."""
        symbols: list[Place] = []
        after_unknown = False
        for at, character in enumerate(spelt):
            id = self.ids.get(character)
            in_bytes = [id] if id is not None else [self._bytes[byte] for byte in character.encode()]
            if None not in in_bytes:
                symbols += [(byte, at, at + 1) for byte in in_bytes]  # type: ignore[misc]
            elif self._unknown is None:
                raise self.unknown(character)
            elif after_unknown and self._fuse:
                symbols[-1] = self._unknown, symbols[-1][1], at + 1
            else:
                symbols.append((self._unknown, at, at + 1))
            after_unknown = None in in_bytes
        return symbols
