"""Unigram: of all ways to cut a word into tokens, the most probable one.

Source: Kudo 2018, arXiv:1804.10959, section 3.2; the search: Viterbi 1967.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..words import blocks, in_blocks
from .part import Part
from .vocabulary import Model, Place, byte_ids

__all__ = ["Unigram"]

# What an unknown character costs beyond the least probable token, in nats. Source: google/sentencepiece.
UNKNOWN_PENALTY = 10.0


class Unigram(Model):
    """The tokens whose log-probabilities have the largest sum; of equal ones, what is found first.

    A stretch of unknown characters is one unknown token, or where `byte_fallback` says so its bytes are tokens.
    """

    def __init__(self, part: Part):
        entries = part.items("vocab")
        for entry in entries:
            if not _is_scored(entry):
                part.refuse(f"field vocab must hold pairs of a token and its log-probability, not {entry!r:.60}")
        self._scores = {token: float(score) for token, score in entries}
        self.ids = {token: id for id, (token, _) in enumerate(entries)}
        if len(self.ids) < len(entries):
            twice, _ = Counter(token for token, _ in entries).most_common(1)[0]
            part.refuse(f"field vocab has {twice!r:.60} twice")
        unknown = part.any("unk_id", None)
        if unknown is not None and not (type(unknown) is int and 0 <= unknown < len(entries)):
            part.refuse(f"field unk_id must be an id or null, not {unknown!r:.60}")
        self._unknown: int | None = unknown
        self._bytes = byte_ids(self.ids) if part.flag("byte_fallback", False) else [None] * 256
        self._unknown_score = min(self._scores.values(), default=0.0) - UNKNOWN_PENALTY
        self._longest: dict[str, int] = {}  # characters of the longest token, by its first
        for token in self.ids:
            if len(token) > self._longest.get(token[:1], 0):
                self._longest[token[:1]] = len(token)

    def __call__(self, word: str) -> list[int]:
        return in_blocks(self._encode, word)

    def places(self, word: str) -> Iterator[Place]:
        for begin, block in blocks(word):
            at = begin
            for piece in self._best_cut(block):
                yield from ((id, at, at + len(piece)) for id in self._ids_of(piece))
                at += len(piece)

    def _encode(self, word: str) -> list[int]:
        return [id for piece in self._best_cut(word) for id in self._ids_of(piece)]

    def _ids_of(self, piece: str) -> list[int]:
        """A token, or what an unknown stretch becomes."""
        id = self.ids.get(piece)
        in_bytes = [id] if id is not None else [self._bytes[byte] for byte in piece.encode()]
        if None not in in_bytes:
            return in_bytes  # type: ignore[return-value]
        if self._unknown is None:
            raise self.unknown(piece)
        return [self._unknown]

    def _best_cut(self, word: str) -> list[str]:
        """The tokens of the best cut; a stretch of what is in no token is one piece."""
        size = len(word)
        scores, longest = self._scores, self._longest
        best: list[float | None] = [0.0] + [None] * size  # the score of the best cut of what lies before each place
        begins = [0] * (size + 1)  # where its last token begins
        for start in range(size):
            before: Any = best[start]
            limit = min(size, start + longest.get(word[start], 0))
            single = False
            for end in range(start + 1, limit + 1):
                score = scores.get(word[start:end])
                if score is None:
                    continue
                single = single or end == start + 1
                so_far = best[end]
                if so_far is None or before + score > so_far:
                    best[end], begins[end] = before + score, start
            if not single:
                score = before + self._unknown_score
                so_far = best[start + 1]
                if so_far is None or score > so_far:
                    best[start + 1], begins[start + 1] = score, start
        return self._follow(word, begins)

    def _follow(self, word: str, begins: list[int]) -> list[str]:
        """The pieces from the last to the first, turned round."""
        pieces: list[str] = []
        unknown_end = None
        end = len(word)
        while end:
            start = begins[end]
            piece = word[start:end]
            id = self.ids.get(piece)
            if id is None or id == self._unknown:
                unknown_end = end if unknown_end is None else unknown_end
            else:
                if unknown_end is not None:
                    pieces.append(word[end:unknown_end])
                    unknown_end = None
                pieces.append(piece)
            end = start
        if unknown_end is not None:
            pieces.append(word[:unknown_end])
        return pieces[::-1]


def _is_scored(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is str and type(entry[1]) in (int, float)
