"""Chat templates: from messages to the text that a model was trained on, equal to transformers' apply_chat_template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tinylm.errors import TinylmError
from tinylm.extras import import_extra

__all__ = ["ChatTemplate", "Message", "Rendered", "Template", "check_messages"]

# A message: its "role" ("system", "user", "assistant") and its "content", and whatever else a template may read.
Message = Mapping[str, Any]

LONGEST_TEMPLATE = 1 << 20  # characters; the longest published ones have some ten thousand


class Template(Protocol):
    """Writes conversations down. stops: the texts that end an answer, beside the tokens that end a text."""

    stops: Sequence[str]

    def render(self, messages: Iterable[Message], *, add_generation_prompt: bool = False, **variables: Any) -> str:
        """The text of a conversation; add_generation_prompt: and the beginning of the assistant's answer."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as text. spans: from where to where the assistant writes, as `generation` blocks say."""

    text: str
    spans: tuple[tuple[int, int], ...]


class ChatTemplate:
    """A template in Jinja, compiled when it is first used.

    source: the template; tokens: the texts of special tokens that it may name, such as bos_token. It sees what
    transformers shows it: messages, tools, documents, add_generation_prompt and any other variables.
    Raises TinylmError for a template that is malformed, refuses the messages, or takes too much time or memory, and
    where jinja2 is missing, with what brings it.
    """

    stops: Sequence[str] = ()

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None):
        self.source, self.tokens = source, dict(tokens or {})
        self._compiled: Any = None

    def render(self, messages: Iterable[Message], *, add_generation_prompt: bool = False, **variables: Any) -> str:
        """The text of a conversation; add_generation_prompt: and the beginning of the assistant's answer."""
        return self.rendered(messages, add_generation_prompt=add_generation_prompt, **variables).text

    def rendered(
        self, messages: Iterable[Message], *, add_generation_prompt: bool = False, **variables: Any
    ) -> Rendered:
        """The text of a conversation, and where the assistant writes in it."""
        import_extra("jinja2", "a chat template")
        from . import sandbox

        given = {"tools": None, "documents": None, **self.tokens, **variables, "messages": check_messages(messages)}
        try:
            with sandbox.running() as run:
                if self._compiled is None:
                    self._compiled = self._compile()
                for piece in self._compiled.generate(_plain(given) | {"add_generation_prompt": add_generation_prompt}):
                    run.written.append(piece)
                return Rendered("".join(run.written), tuple(run.spans))
        except TinylmError:
            raise
        except (MemoryError, RecursionError):
            raise TinylmError("the chat template takes too much memory, or calls itself without end") from None
        except Exception as error:  # of any kind: what a template does wrong shows as Python's own errors
            line = getattr(error, "lineno", None)
            place = "" if line is None else f", line {line}"
            raise TinylmError(f"the chat template cannot write this conversation{place}: {error}") from None

    def _compile(self) -> Any:
        from . import sandbox

        if len(self.source) > LONGEST_TEMPLATE:
            raise TinylmError(f"the chat template has {len(self.source):,} characters, at most {LONGEST_TEMPLATE:,} do")
        return sandbox.compile_template(self.source)


def check_messages(messages: Iterable[Message]) -> list[Message]:
    """The messages as a list. Raises TinylmError for what is none, naming it."""
    if isinstance(messages, (str, Mapping)):
        raise TinylmError('expected a list of messages such as [{"role": "user", "content": "Hello"}]')
    checked = list(messages)
    for number, message in enumerate(checked):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise TinylmError(f"message {number} is {message!r:.60}, expected an object with a role and a content")
    if not checked:
        raise TinylmError("a conversation needs at least one message")
    return checked


def _plain(value: Any) -> Any:
    """The same in the types of JSON: what a stranger's template sees has no methods of ours."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TinylmError(f"a message holds a {type(value).__name__}, expected texts, numbers, lists and objects")
