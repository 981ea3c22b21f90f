"""A conversation with a history, of which the model sees what its context has room for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tinylm.errors import TinylmError

from ..completion import GenerationSettings
from ..reading import Reader
from ..writing import Stream
from .template import Message

if TYPE_CHECKING:
    from .generator import ChatGenerator

__all__ = ["Conversation"]


class Conversation:
    """Turns of a user and the model. settings: of every answer, as for `chat`.

    The model reads again only what is new since the last turn. When the history outgrows the context, the model forgets
    the oldest turns, until what is left takes half of it; the system's message stays. forgotten: how many messages.
    """

    def __init__(self, generator: ChatGenerator, system: str | None = None, **settings: Any):
        GenerationSettings.of(settings)
        self._generator, self._settings = generator, settings
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._reader = Reader(generator.decoder)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the system's message alone."""
        self._turns: list[Message] = []
        self._answer: Stream | None = None
        self.forgotten = 0

    @property
    def messages(self) -> list[Message]:
        """All that was said; of an answer that was interrupted, as much as there is."""
        self._note_answer()
        return [*self._system, *self._turns]

    def send(self, text: str, *, cancel: threading.Event | None = None) -> Stream:
        """The answer to a message, piece by piece. Raises TinylmError for one that does not fit into the context."""
        self._note_answer()
        self._turns.append({"role": "user", "content": text})
        try:
            self._forget()
            visible = [*self._system, *self._turns[self.forgotten :]]
            self._answer = self._generator.chat_stream(visible, reader=self._reader, cancel=cancel, **self._settings)
        except TinylmError:
            self._turns.pop()
            raise
        return self._answer

    def _note_answer(self) -> None:
        """Make the last answer a message, as far as it came."""
        if self._answer is not None:
            self._answer.close()
            self._turns.append({"role": "assistant", "content": self._answer.completion.text.strip()})
            self._answer = None

    def _forget(self) -> None:
        """Leave out old turns, whole ones, where less than a quarter of the context is left for the answer."""
        context = self._generator.decoder.context
        if context is None or self._length() <= context - context // 4:
            return
        first = self.forgotten
        while self._length(first) > context // 2 and (later := self._next_turn(first)) is not None:
            first = later
        if self._length(first) > context - context // 8:
            raise TinylmError(f"a message with the system's has {self._length(first)} tokens, too many for {context}")
        self.forgotten = first

    def _next_turn(self, first: int) -> int | None:
        """Where the user speaks next after the message `first`."""
        later = (at for at in range(first + 1, len(self._turns)) if self._turns[at]["role"] == "user")
        return next(later, None)

    def _length(self, first: int | None = None) -> int:
        """The tokens of the conversation from a message on."""
        first = self.forgotten if first is None else first
        return len(self._generator.chat_ids([*self._system, *self._turns[first:]]))
