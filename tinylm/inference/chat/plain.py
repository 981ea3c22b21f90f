"""How a conversation is written down for a model that has no chat template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tinylm.errors import TinylmError
from tinylm.text import Tokenizer

from .template import ChatTemplate, Message, Template, check_messages

__all__ = ["PlainTemplate", "find_template"]


class PlainTemplate:
    """Who speaks, a line break, what is said, and an empty line between two messages:

        System:
        Answer briefly.

        User:
        Hello

        Assistant:
        Hi!

    An answer ends where the next message would begin.
    """

    stops: Sequence[str] = ("\n\nUser:", "\n\nSystem:", "\n\nAssistant:")

    def render(self, messages: Iterable[Message], *, add_generation_prompt: bool = False, **variables: Any) -> str:
        """The text of a conversation; add_generation_prompt: and the beginning of the assistant's answer."""
        parts = []
        for message in check_messages(messages):
            if not isinstance(message.get("content"), str):
                raise TinylmError("this model has no chat template: the content of a message must be a text")
            parts.append(f"{message['role'].capitalize()}:\n{message['content'].strip()}")
        return "\n\n".join([*parts, *(["Assistant:\n"] if add_generation_prompt else [])])


def find_template(tokenizer: Tokenizer) -> Template:
    """How conversations are written down for a model: by the template beside its tokenizer, or a `PlainTemplate`."""
    config = tokenizer.config
    return PlainTemplate() if config.chat_template is None else ChatTemplate(config.chat_template, config.tokens)
