"""Decoding ids that arrive one by one, for decoders that look at more than one token."""

from __future__ import annotations

from collections.abc import Callable

from ..base import TextStream
from .decoders import Decoder

__all__ = ["PieceStream"]


class PieceStream(TextStream):
    """Turns ids into text one at a time. The pieces joined are `decode` of all the ids; no character is ever cut.

    Text is given out as soon as no later token can change it. What it is depends on the tokens since then, and on
    whether they begin the text: the first tokens that gave any are decoded before them, for what follows to know that
    it is not the beginning.
    """

    def __init__(self, decoder: Decoder, token_of: Callable[[int], str]):
        self._decode, self._token_of = decoder, token_of
        self._reset()

    def _reset(self) -> None:
        self._head: list[str] = []
        self._head_text = ""
        self._waiting: list[str] = []

    def feed(self, id: int) -> str:
        """The text that this id completes, often "" in the middle of a character."""
        self._waiting.append(self._token_of(id))
        return "" if self._decode.waits(self._waiting) else self._flush()

    def end(self) -> str:
        """The text of what still waits; after it the stream starts anew."""
        rest = self._flush() if self._waiting else ""
        self._reset()
        return rest

    def _flush(self) -> str:
        whole = self._decode(self._head + self._waiting)
        text = whole[len(self._head_text) :]
        if not self._head_text:
            self._head, self._head_text = self._head + self._waiting, whole
        self._waiting = []
        return text
