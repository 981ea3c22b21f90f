"""Conversations as lists of messages, and the forms in which others keep them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import FileFormatError
from ...extras import import_extra
from ..readers.base import MAX_RECORD, Row, Skipped, TextFile

__all__ = ["chatterbot_rows", "messages"]

# Who speaks, by the names that are in use: OpenAI's own, and ShareGPT's.
ROLES = {
    "system": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "human": "user", "prompter": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "model": "assistant", "function": "tool",
}  # fmt: skip


def messages(value: Any) -> list[dict[str, str]]:
    """[{"role": "user", "content": "..."}, ...] with at least one of the assistant's, from such a list, ShareGPT's
    "from" and "value", or a list of texts in turn. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"is {value!r:.40}, expected a list of messages")
    found = [_message(part, at) for at, part in enumerate(value)]
    if all(message["role"] != "assistant" for message in found):
        raise ValueError("holds no message of the assistant: nothing to learn from")
    return found


def _message(part: Any, at: int) -> dict[str, str]:
    if isinstance(part, str):
        return {"role": "assistant" if at % 2 else "user", "content": part}
    if not isinstance(part, dict):
        raise ValueError(f"holds {part!r:.40} as message {at + 1}, expected an object")
    role, content = part.get("role", part.get("from")), part.get("content", part.get("value"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise ValueError(f"holds message {at + 1} of {role!r:.40}; there are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise ValueError(f"holds message {at + 1} with {content!r:.40} as its content, expected text")
    return {"role": ROLES[role.lower()], "content": content.replace("\r\n", "\n")}


def chatterbot_rows(file: TextFile) -> Iterator[Row | Skipped]:
    """The conversations of a YAML file of ChatterBot's corpora: lists of what two speakers say in turn."""
    yaml = import_extra("yaml", "reading YAML")
    with file.open() as opened:
        raw = opened.read(MAX_RECORD + 1)
    if len(raw) > MAX_RECORD:
        raise FileFormatError(file.path, f"more than {MAX_RECORD:,} bytes: too large for a YAML file here")
    try:
        # Every scalar a text: elsewhere YAML takes the answer "No" for a boolean.
        content = yaml.load(raw.decode("utf-8-sig"), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"malformed YAML: {getattr(error, 'problem', None) or str(error)[:200] or 'nested too deeply'}"
        raise FileFormatError(file.path, reason, line=mark.line + 1 if mark else None) from None
    turns = content.get("conversations") if isinstance(content, dict) else None
    if not isinstance(turns, list):
        raise FileFormatError(file.path, "expected a mapping with a list of conversations, as ChatterBot's corpora are")
    for number, conversation in enumerate(turns, 1):
        if isinstance(conversation, list) and all(isinstance(turn, str) for turn in conversation):
            yield Row(number, {"messages": conversation})
        else:
            yield Skipped(number, f"expected a list of texts, received {conversation!r:.60}: is a quote missing?")
