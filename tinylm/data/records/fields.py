"""The fields that tasks ask for: the names under which columns hold them, and what a value must be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..readers.base import Skipped, record
from .conversations import messages

__all__ = ["FIELDS", "Field", "as_it_is", "check_starts", "convert"]


@dataclass(frozen=True)
class Field:
    """names: of columns that hold it, the likeliest first; make: its value from a column's, or raises ValueError."""

    names: tuple[str, ...]
    make: Callable[[Any], Any]


def as_it_is(value: Any) -> Any:
    """Any value."""
    return value


def text(value: Any) -> str:
    r"""Text that is not blank; "\r\n" becomes "\n" and nothing else changes."""
    found = record(value, 0, "")
    if isinstance(found, Skipped):
        raise ValueError(found.reason.removeprefix("'' "))
    return found.text


def exact_text(value: Any) -> str:
    """Text with its line ends as they are, since positions in it are told."""
    text(value)
    return str(value)


def texts(value: Any) -> list[str]:
    """One text or more, from a text or a list of them."""
    return [text(part) for part in value] if isinstance(value, list | tuple) else [text(value)]


def label(value: Any) -> str | list[str]:
    """One label, as text without spaces around it, or a list of any number of them."""
    if isinstance(value, list | tuple):
        return [_one_label(part) for part in value]
    return _one_label(value)


def _one_label(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # a column of integers with gaps, as pandas writes it
        value = int(value)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return text(value).strip()


def number(value: Any) -> float:
    """A finite number, also written as text."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"is {value!r:.40}, expected a number") from None
    if not math.isfinite(found):
        raise ValueError(f"is {value!r:.40}, expected a finite number")
    return found


def answers(value: Any) -> list[str]:
    """All right answers; none where a question has no answer."""
    return texts(value)


def starts(value: Any) -> list[int]:
    """Where in the context each answer begins, in characters."""
    if not isinstance(value, list | tuple) or not all(type(part) is int and part >= 0 for part in value):
        raise ValueError(f"is {value!r:.40}, expected a list of positions")
    return list(value)


_TEXTS = ("text", "sentence", "review", "content", "body", "document", "article", "message", "comment", "tweet", "post",
          "utterance", "sms", "description")  # fmt: skip
_FIRST_OF_TWO = ("text_a", "text1", "sentence1", "premise", "question1")
_SECOND_OF_TWO = ("text_pair", "text_b", "text2", "sentence2", "hypothesis", "question2")

FIELDS: dict[str, Field] = {
    "text": Field((*_TEXTS, *_FIRST_OF_TWO), text),
    "text_pair": Field(_SECOND_OF_TWO, text),
    "label": Field(
        ("label", "labels", "class", "category", "categories", "sentiment", "intent", "topic", "tag", "tags", "emotion",
         "polarity", "target", "stars", "rating", "type"), label,
    ),
    "summary": Field(("summary", "highlights", "abstract", "tldr", "headline", "title"), text),
    "source": Field(("source", "src", "msgid", "original", "input"), text),
    "target": Field(("target", "tgt", "msgstr", "translation", "output"), text),
    "question": Field(("question", "query", "q", "instruction", "prompt"), text),
    "context": Field(("context", "passage", "paragraph", "document", "background"), exact_text),
    "answers": Field(("answers", "answer", "a", "response", "completion", "output"), answers),
    "starts": Field(("starts", "answer_start", "answer_starts"), starts),
    "messages": Field(("messages", "conversations", "conversation", "dialogue", "dialog", "turns"), messages),
    "anchor": Field(("anchor", "query", "question", *_FIRST_OF_TWO, "title", "source", *_TEXTS), text),
    "positive": Field(
        ("positive", "passage", *_SECOND_OF_TWO, "answer", "context", "target", "document", "text", "body", "content"),
        text,
    ),
    "negatives": Field(("negatives", "negative", "hard_negatives", "hard_negative", "neg"), texts),
    "score": Field(("score", "similarity", "similarity_score", "gold"), number),
}  # fmt: skip


def convert(values: Mapping[str, Any], chosen: Mapping[str, str], line: int) -> dict[str, Any] | Skipped:
    """The record that a row is, or why it cannot be one. chosen: the column that each field comes from."""
    made = {}
    for field, column in chosen.items():
        if column not in values:
            return Skipped(line, f"no field {column!r}")
        try:
            made[field] = FIELDS[field].make(values[column]) if field in FIELDS else values[column]
        except ValueError as error:
            return Skipped(line, f"{column!r} {error}")
    return check_starts(made, line)


def check_starts(made: dict[str, Any], line: int) -> dict[str, Any] | Skipped:
    """The record, unless an answer is not where it is said to be in the context."""
    if not made.keys() >= {"context", "answers", "starts"}:
        return made
    if len(made["answers"]) != len(made["starts"]):
        return Skipped(line, f"{len(made['answers'])} answers at {len(made['starts'])} positions")
    for answer, start in zip(made["answers"], made["starts"], strict=True):
        there = made["context"][start : start + len(answer)]
        if there != answer:
            return Skipped(line, f"the answer {answer!r:.40} is not at {start} of the context, which has {there!r:.40}")
    return made
