"""Reading as a kind of task: from records with questions, contexts and answers to a model that marks answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinylm.data import Corpus, Progress
from tinylm.data.records import Records
from tinylm.errors import TinylmError
from tinylm.inference import BeamGenerator, answer_from_context, question_windows
from tinylm.metrics import Scores, answers
from tinylm.text import Tokenizer, Window, find_special

from ..kind import Paths
from ..records import EncoderSettings, RecordKind, columns_of
from ..settings import INFINITY, check_range
from ..tokenizers import build_tokenizer
from .task import ReadingTask, mark_answers

__all__ = ["Reading", "ReadingSettings"]

SAMPLES = 3  # held-out questions that people see the answers to


@dataclass(frozen=True)
class ReadingSettings(EncoderSettings):
    """The settings of reading."""

    models: ClassVar[tuple[str, ...]] = ("bert",)

    task: str = "reading"
    question_column: str = ""  # guessed where empty, as the next three are
    context_column: str = ""
    answers_column: str = ""
    starts_column: str = ""  # where in the context the answers begin; else at the first place where they stand
    measured: int = 500  # held-out questions that are answered and measured at each validation
    steps: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("measured", self.measured, 0, INFINITY)


class Reading(RecordKind):
    """Questions whose answers stand in a text, which an encoder marks there; or that have none (SQuAD 2.0)."""

    name = "reading"
    settings_class = ReadingSettings
    presets = MappingProxyType({"default": {}})
    head = "spans"
    metric = "f1"
    sample_title = "what it answers to questions that are held out"
    columns = columns_of("question", "context", "answers", "starts")
    optional = ("starts",)
    settings: ReadingSettings

    def read_data(self) -> None:
        super().read_data()
        places = [place_of(record) for record in self.records]
        self.may_be_none = any(not record["answers"] for record in self.records)
        lost = sum(place is None and bool(r["answers"]) for place, r in zip(places, self.records, strict=True))
        if lost == len(self.records):
            raise TinylmError(
                f"{self.records.name}: no answer stands in its context; the task questions writes answers"
            )
        if lost:
            self.notify(
                f"{lost:,} of {len(self.records):,} answers do not stand in their context: nothing to mark there"
            )

    def learn_tokenizer(self) -> Tokenizer:
        """Learnt from the questions and contexts to train on, each context once."""
        texts = dict.fromkeys(text for record in self.train for text in (record["context"], record["question"]))
        return build_tokenizer(self.settings, Corpus(self.records.name, list(texts)), notify=self.notify)

    def load(self, tokenizer: Tokenizer) -> ReadingTask:
        settings = self.settings
        self.tokenizer = tokenizer
        windows, targets = self._encode(self.train)
        held = int((targets[:, 0] > 0).sum())
        self.notify(
            f"{len(windows):,} windows of up to {settings.context} tokens, {held:,} of them with an answer; "
            f"an epoch takes {max(len(windows) // settings.batch_size, 1):,} steps"
        )
        return ReadingTask(
            windows,
            targets,
            self._encode(self.validation),
            batch_size=settings.batch_size,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
            measure=self._measure,
        )

    def _encode(self, records: Records) -> tuple[list[Window], np.ndarray]:
        windows: list[Window] = []
        targets = [np.zeros((0, 2), np.int64)]
        for record in records:
            found = question_windows(self.tokenizer, record["question"], record["context"], self.settings.context)
            start, end = place_of(record) or (None, 0)
            windows += found
            targets.append(mark_answers(found, start, end))
        return windows, np.concatenate(targets)

    def _answer(self, model: Any, record: Mapping[str, Any]) -> str:
        settings, may_be_none = self.settings, self.may_be_none
        found = answer_from_context(
            model,
            self.tokenizer,
            record["question"],
            record["context"],
            max_tokens=settings.context,
            may_be_none=may_be_none,
        )
        return found[0].text if found else ""

    def _measure(self, model: Any) -> dict[str, float]:
        chosen = self.validation[: self.settings.measured]
        if not len(chosen):
            return {}
        found = [self._answer(model, record) for record in chosen]
        return answers(found, list(chosen.column("answers"))).result()

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The scores of answers that are marked; an example is a question."""
        records = cls.open_other(data, progress, **columns)
        known = {"max_tokens": lm.task.get("context"), "may_be_none": lm.task.get("may_be_none", False)}
        found = [answer_from_context(lm.model, lm.tokenizer, r["question"], r["context"], **known) for r in records]
        texts = [spans[0].text if spans else "" for spans in found]
        return replace(answers(texts, list(records.column("answers"))), examples=records.fingerprint())

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        return {"pad_token_id": find_special(tokenizer, "pad_token")} if self.init is None else {}

    def use(self) -> dict[str, Any]:
        return {"may_be_none": self.may_be_none, "context": self.settings.context}

    def describe(self, tokenizer: Tokenizer) -> str:
        held = f"{len(self.train):,} questions to train on, {len(self.validation):,} held out"
        return f"{held}, {tokenizer.vocab_size:,} kinds of tokens"

    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        lines = []
        for record in (self.validation or self.train)[:SAMPLES]:
            right = " / ".join(dict.fromkeys(record["answers"])) or "(no answer)"
            lines += [record["question"], f"  -> {self._answer(model, record) or '(no answer)'}", f"  ({right})"]
        return "\n".join(lines)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        if "val_f1" not in metrics:
            return f"loss {metrics['val_loss']:.4f}"
        figures = f"exact match {metrics['val_exact_match']:.1f}, F1 {metrics['val_f1']:.1f}"
        return f"{figures} (loss {metrics['val_loss']:.4f})"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f'tinylm answer {best} --context FILE "..."', "what it finds in a text")]


def place_of(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """The characters of the first answer in the context; None where it does not stand there."""
    if not record["answers"]:
        return None
    answer = record["answers"][0]
    start = record["starts"][0] if record.get("starts") else record["context"].find(answer)
    return None if start < 0 or not answer else (start, start + len(answer))
