"""Tokens that are found in a text before anything else, whatever the model would make of their letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .part import Part
from .patterns import WHITE_SPACE, WORD
from .vocabulary import MAX_ID

__all__ = ["Added", "AddedFinder", "read_added"]


@dataclass(frozen=True)
class Added:
    """A text that is one token wherever it appears.

    special: it stands for no text but for something about it; single_word: only between characters that are no
    letters, digits or marks; lstrip, rstrip: it takes the white space before and after it along; normalized: it is
    looked for in the text as the normalizer leaves it, and its own text is normalized for that.
    """

    text: str
    id: int
    special: bool
    single_word: bool
    lstrip: bool
    rstrip: bool
    normalized: bool


def read_added(parts: Iterable[Part]) -> list[Added]:
    """The added tokens of a file, which may not share an id or a text."""
    found: list[Added] = []
    seen: set[int | str] = set()
    for part in parts:
        added = Added(
            part.text("content"),
            part.whole("id"),
            special=part.flag("special", False),
            single_word=part.flag("single_word", False),
            lstrip=part.flag("lstrip", False),
            rstrip=part.flag("rstrip", False),
            normalized=part.flag("normalized", not part.any("special", False)),
        )
        if not added.text or added.id >= MAX_ID:
            part.refuse(f"needs a content that is not empty and an id below {MAX_ID:,}, not {added.text!r}, {added.id}")
        if {added.id, added.text} & seen:
            part.refuse(f"has an id or a content that another one has: {added.id}, {added.text!r:.60}")
        seen |= {added.id, added.text}
        part.close()
        found.append(added)
    return found


class AddedFinder:
    """Finds added tokens in a text: the leftmost, and of several that begin together the longest.

    normalize: what the text that is searched, and so the text of each token, has gone through. holds_space: whether
    white space can be a part of one, but for such that comes before it.
    """

    def __init__(self, added: Iterable[Added], normalize: Callable[[str], str] = lambda text: text):
        import regex

        self._by_text = {normalize(token.text): token for token in added}
        self.holds_space = any(token.rstrip or regex.search(r"\s", text) for text, token in self._by_text.items())
        by_length = sorted(filter(None, self._by_text), key=len, reverse=True)
        self._find = regex.compile("|".join(map(regex.escape, by_length)) or "(?!)").finditer
        self._is_letter = regex.compile(f"[{WORD}]").match

    def split(self, text: str) -> Iterator[tuple[str, int | None]]:
        """The stretches of a text in their order: between added tokens with None, those themselves with their id."""
        begin = 0
        for found in self._find(text) if self._by_text else ():
            token = self._by_text[found[0]]
            start, end = found.span()
            if token.single_word and not self._stands_alone(text, start, end):
                continue
            if token.lstrip:
                start = max(begin, len(text[:start].rstrip(WHITE_SPACE)))
            if token.rstrip:
                end = len(text) - len(text[end:].lstrip(WHITE_SPACE))
            if begin < start:
                yield text[begin:start], None
            yield text[start:end], token.id
            begin = end
        if begin < len(text):
            yield text[begin:], None

    def _stands_alone(self, text: str, start: int, end: int) -> Any:
        return not self._is_letter(text[start - 1 : start]) and not self._is_letter(text[end : end + 1])
