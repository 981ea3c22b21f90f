"""Answers to conversations, for a model with its tokenizer and its chat template."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import AsyncIterator, Iterable
from functools import cached_property
from typing import Any

from tinylm.errors import TinylmError

from ..completion import GenerationSettings
from ..reading import Reader
from ..text_generator import TextGenerator, iterate_in_thread
from ..writing import Stream
from .conversation import Conversation
from .plain import find_template
from .template import Message, Template

__all__ = ["ChatGenerator"]


class ChatGenerator(TextGenerator):
    """Generates texts, and answers to conversations: lists of messages with a role and a content."""

    @cached_property
    def chat_template(self) -> Template:
        """How conversations are written down; see `find_template`."""
        return find_template(self.tokenizer)

    def chat(self, messages: Iterable[Message], *, cancel: threading.Event | None = None, **settings: Any) -> str:
        """The answer to a conversation; the settings are those of `generate`."""
        return "".join(self.chat_stream(messages, cancel=cancel, **settings))

    def chat_stream(
        self,
        messages: Iterable[Message],
        *,
        reader: Reader | None = None,
        choice: int = 0,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Stream:
        """The answer to a conversation piece by piece.

        reader: of an earlier answer, which has read the beginning of the conversation already. choice: see `Sampler`.
        Raises TinylmError for messages that the template refuses, or that leave no room in the context; `conversation`
        forgets old ones.
        """
        chosen, ids = GenerationSettings.of(settings), self.chat_ids(messages)
        context = self._causal.context
        if context is not None and len(ids) >= context:
            raise TinylmError(f"the conversation has {len(ids)} tokens, the model looks at {context}: shorten it")
        most = chosen.max_tokens if context is None else min(chosen.max_tokens, context - len(ids))
        chosen = dataclasses.replace(chosen, max_tokens=most, stop=(*chosen.stops, *self.chat_template.stops))
        release, reader = reader is None, reader or Reader(self._causal, use_cache=chosen.use_cache)
        ends = self._end_ids(self._causal) | self._end_of_turn
        options: dict[str, Any] = {"continues": False, "end_ids": ends, "choice": choice, "cancel": cancel}
        return self._stream(reader, self._writer(self._causal, ids, chosen, **options), release=release)

    async def achat(self, messages: Iterable[Message], **settings: Any) -> str:
        """`chat` for asyncio; see `astream`."""
        return "".join([piece async for piece in self.achat_stream(messages, **settings)])

    def achat_stream(self, messages: Iterable[Message], **settings: Any) -> AsyncIterator[str]:
        """`chat_stream` for asyncio; see `astream`."""
        return iterate_in_thread(self.chat_stream, messages, **settings)

    def chat_ids(self, messages: Iterable[Message]) -> list[int]:
        """The tokens of a conversation up to where the assistant answers."""
        return self._encode(self.chat_template.render(messages, add_generation_prompt=True)).tolist()

    @cached_property
    def _end_of_turn(self) -> frozenset[int]:
        """The token that ends a text for the tokenizer, which in chat models is the one that ends a turn."""
        text = self.tokenizer.config.tokens.get("eos_token")
        ids = self.tokenizer.encode(text).tolist() if text else []
        return frozenset(ids if len(ids) == 1 else [])

    def conversation(self, system: str | None = None, **settings: Any) -> Conversation:
        """A conversation that keeps its history; system: what the model is told first."""
        return Conversation(self, system, **settings)
