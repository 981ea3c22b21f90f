"""A text that changes while each of its characters remembers which of the original it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Change", "Span", "Traced"]

Span = tuple[int, int]  # from a character up to, not including, another
# A character of the new text. 0: it takes the place of the next one of the old text; 1: it is one more for the one
# before it; below 0: it takes the place of the next one and of so many after that.
Change = tuple[str, int]


class Traced:
    """A text, and for each of its characters the span of the original text that it stands for."""

    __slots__ = ("spans", "text")

    def __init__(self, text: str, spans: list[Span] | None = None):
        self.text = text
        self.spans = [(at, at + 1) for at in range(len(text))] if spans is None else spans

    @property
    def whole(self) -> Span:
        """What all of it stands for."""
        return self.spans[0][0], self.spans[-1][1]

    def part(self, start: int, end: int) -> Traced:
        """The characters from start up to end."""
        return Traced(self.text[start:end], self.spans[start:end])

    def parts(self, spans: Iterable[Span]) -> list[Traced]:
        """Those stretches that are not empty."""
        return [self.part(start, end) for start, end in spans if start < end]

    def changed(self, changes: Iterable[Change]) -> Traced:
        """The text that the changes make of it, one after the other."""
        characters: list[str] = []
        spans: list[Span] = []
        at = 0
        for character, change in changes:
            characters.append(character)
            if change > 0:
                spans.append(self.spans[at - 1] if at else (0, 0))
            else:
                spans.append(self.spans[at])
                at += 1 - change
        return Traced("".join(characters), spans)

    def each(self, change: Callable[[str], str]) -> Traced:
        """Each character by itself changed into none, one or several, which stand for what it stood for."""
        made: dict[str, str] = {}
        characters: list[str] = []
        spans: list[Span] = []
        for character, span in zip(self.text, self.spans, strict=True):
            new = made[character] if character in made else made.setdefault(character, change(character))
            characters.append(new)
            spans += [span] * len(new)
        return Traced("".join(characters), spans)

    def prepended(self, before: str) -> Traced:
        """With characters before it, which stand for what the first one does; nothing stays nothing."""
        return Traced(before + self.text, [self.spans[0]] * len(before) + self.spans) if self.text else self

    def replaced(self, pattern: Any, content: str) -> Traced:
        """With each match replaced; the new characters stand for what its last one did."""
        pieces: list[str] = []
        spans: list[Span] = []
        done = 0
        for found in pattern.finditer(self.text):
            start, end = found.span()
            pieces += [self.text[done:start], content]
            spans += self.spans[done:start] + [self.spans[end - 1] if end else (0, 0)] * len(content)
            done = end
        return Traced("".join([*pieces, self.text[done:]]), spans + self.spans[done:])
