"""What a model learns from a conversation: what the assistant writes in it, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from tinylm.errors import TinylmError
from tinylm.text import Tokenizer

from .template import ChatTemplate, Message, Rendered, Template

__all__ = ["DEFAULT_TEMPLATE", "answered_spans", "conversation_ids"]

# What a model without a chat template gets that shall learn to answer: as `PlainTemplate`, and a token ends an answer.
DEFAULT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}:\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] | trim }}{% endif %}"
    "\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


def answered_spans(template: Template, messages: Sequence[Message]) -> Rendered:
    """A conversation as text, and where the assistant writes in it: as the template's `generation` blocks say.

    Of a template without them, an answer is what a conversation up to it has more than one that waits for it. Raises
    TinylmError where a template writes the beginning of a conversation in another way than alone, so that neither says.
    """
    if isinstance(template, ChatTemplate):
        rendered = template.rendered(messages)
        if rendered.spans:
            return rendered
    text = template.render(messages)
    spans = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            before = template.render(messages[:number], add_generation_prompt=True) if number else ""
            after = template.render(messages[: number + 1])
            content = text.find(message["content"].strip(), len(before))
            if not (text.startswith(before) and after.startswith(before)) or content < 0:
                raise TinylmError(f"the chat template does not show where the assistant writes message {number + 1}")
            spans.append((len(before), max(_end_of_turn(text, after), content + len(message["content"].strip()))))
    return Rendered(text, tuple(spans))


def _end_of_turn(text: str, after: str) -> int:
    """Where a conversation that ends here, `after`, agrees with the whole: the end of all turns may be marked as well.

    Two marks that begin alike, such as <|im_start|> and <|im_end|>, agree in a part of them, which is none.
    """
    if text.startswith(after):
        return len(after)
    differs = (at for at, (a, b) in enumerate(zip(text, after, strict=False)) if a != b)
    return len(re.sub(r"[<\[][^<>\[\]]*$", "", text[: next(differs, len(text))]))


def conversation_ids(tokenizer: Tokenizer, rendered: Rendered) -> tuple[np.ndarray, np.ndarray]:
    """The tokens (n,) int32 of a conversation, and which of them the assistant writes, (n,) bool.

    A token belongs to the assistant that holds any of its characters, as transformers' assistant masks have it.
    """
    ids = tokenizer.encode(rendered.text)
    answered = np.zeros(len(ids), bool)
    for start, end in rendered.spans:
        first, _ = _agreement(ids, tokenizer.encode(rendered.text[:start]))
        last, whole = _agreement(ids, tokenizer.encode(rendered.text[:end]))
        answered[first : last if whole else last + 1] = True
    return ids, answered


def _agreement(ids: np.ndarray, beginning: np.ndarray) -> tuple[int, bool]:
    """How many ids those of the beginning of a text have in common with it, and whether these are all of them.

    Where they are not, a token of the text goes on beyond the place where the beginning ends.
    """
    count = min(len(ids), len(beginning))
    differs = np.flatnonzero(ids[:count] != beginning[:count])
    common = int(differs[0]) if len(differs) else count
    return common, common == len(beginning)
