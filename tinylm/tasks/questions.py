"""Questions: an answer in the model's own words, with a context to find it in or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm.metrics import Scores, answers
from tinylm.text import Tokenizer

from .pairs import PairKind, PairSettings
from .records import columns_of

__all__ = ["Questions", "QuestionsSettings"]


@dataclass(frozen=True)
class QuestionsSettings(PairSettings):
    """The settings of questions."""

    task: str = "questions"
    question_column: str = ""  # the column of each field; guessed where empty
    context_column: str = ""
    answers_column: str = ""


class Questions(PairKind):
    """Questions and answers. What has no answer is answered by nothing."""

    name = "questions"
    settings_class = QuestionsSettings
    sample_title = "how it answers what is held out, and (what is right)"
    source = ("question", "context")
    optional = ("context",)
    target = "answers"
    columns = columns_of(*source, target)

    @classmethod
    def prompt(cls, fields: Sequence[str], *, conditional: bool) -> str:
        if conditional:
            return "\n".join(f"{{{name}}}" for name in fields)
        return ("{context}\n\n" if "context" in fields else "") + "Question: {question}\nAnswer:\n"

    @classmethod
    def texts(cls, target: Any) -> list[str]:
        return target or [""]

    @classmethod
    def measure(cls, written: Sequence[str], right: Sequence[Any], sources: Sequence[Mapping[str, str]]) -> Scores:
        return answers(written, right, characters=True)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        if "val_f1" not in metrics:
            return f"loss {metrics['val_loss']:.4f}"
        return (
            f"exact match {metrics['val_exact_match']:.1f}, F1 {metrics['val_f1']:.1f}, loss {metrics['val_loss']:.4f}"
        )

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        context = '--context "..." ' if "context" in self.records.fields else ""
        return [(f'tinylm answer {best} {context}"QUESTION"', "answer a question")]
