"""How a text that shall be answered, and its answer, are written in the tokens of a model."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinylm.errors import TinylmError
from tinylm.text import PipelineTokenizer, Tokenizer

__all__ = ["PairFormat", "prompt_fields"]


@dataclass(frozen=True)
class PairFormat:
    """Writes sources and targets: a translation, a summary, an answer is a target.

    prompt: a text with {fields} for what a source is made of. conditional: whether an encoder reads it; otherwise it
    stands before the target. context: tokens that the model looks at, those of each side where there are two; None
    for no limit. end: the token after a target.
    """

    tokenizer: Tokenizer
    prompt: str
    conditional: bool
    context: int | None
    end: int

    def source(self, fields: Mapping[str, str], room: int | None) -> tuple[str, bool]:
        """The text of a source in at most `room` tokens, and whether it had to be cut for that.

        The longest field is cut, at its end. Raises TinylmError for a field that is missing or empty, and where not
        even the prompt itself has room.
        """
        fields = {name: _present(name, fields) for name in prompt_fields(self.prompt)}
        text = self.prompt.format_map(fields)
        count, cut = len(self.source_ids(text)), False
        while room is not None and count > room:
            longest = max(fields, key=lambda name: len(fields[name]))
            if not fields[longest]:
                raise TinylmError(f"a context of {room} tokens is too short for the prompt {self.prompt!r:.60}")
            surplus = -(-(count - room) * len(text) // count)  # in characters; at least one
            fields[longest] = fields[longest][:-surplus]
            text, cut = self.prompt.format_map(fields), True
            count = len(self.source_ids(text))
        return text, cut

    def source_ids(self, text: str) -> np.ndarray:
        """What the model reads of a source: of an encoder, with the special tokens around it."""
        return self._surrounded(text) if self.conditional else self.tokenizer.encode(text)

    def target_ids(self, text: str) -> np.ndarray:
        """A target up to the token that ends it."""
        ids = self._surrounded(text) if self.conditional else self.tokenizer.encode(text)
        return ids if len(ids) and ids[-1] == self.end else np.append(ids, np.int32(self.end))

    def most_of_target(self) -> int | None:
        """The longest target, in tokens: it leaves half of the context to a source that stands before it."""
        return self.context if self.conditional or self.context is None else max(self.context // 2, 1)

    def room(self, target: int) -> int | None:
        """The tokens that a source may have beside a target of so many."""
        if self.context is None or self.conditional:
            return self.context
        return self.context + 1 - target  # the last token of a target is predicted, and not read

    def text(self, ids: list[int]) -> str:
        """The text of a target that was written."""
        tokenizer = self.tokenizer
        if isinstance(tokenizer, PipelineTokenizer):
            return tokenizer.decode(ids, skip_special=True).strip()
        return tokenizer.decode(ids).strip()

    def _surrounded(self, text: str) -> np.ndarray:
        if isinstance(self.tokenizer, PipelineTokenizer):
            return self.tokenizer.inputs(text, truncation=None, padding=None).ids
        return self.tokenizer.encode(text)


def prompt_fields(prompt: str) -> list[str]:
    """The fields that a prompt names. Raises TinylmError for one that is malformed."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(prompt) if name is not None]
    except ValueError as error:
        raise TinylmError(f"prompt is {prompt!r:.60}: {error}; a brace itself is written twice") from None


def _present(name: str, fields: Mapping[str, str]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise TinylmError(f"the model needs a {name}, received {value!r:.40}")
    return value
