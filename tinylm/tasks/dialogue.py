"""Dialogue: a causal model learns to answer, from conversations in which an assistant does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.data import Corpus, Records
from tinylm.errors import TinylmError
from tinylm.inference import Sampler, answered_spans, conversation_ids, generate
from tinylm.inference.chat import DEFAULT_TEMPLATE, ChatTemplate
from tinylm.text import Tokenizer

from .kind import TaskKind
from .pairs import read_records
from .settings import TrainSettings
from .teacher_forcing import Examples, TeacherForcing, continued, examples_of
from .tokenizers import build_tokenizer

__all__ = ["Dialogue", "DialogueSettings"]

SAMPLES, SAMPLE_TOKENS = 3, 60


@dataclass(frozen=True)
class DialogueSettings(TrainSettings):
    """The settings of dialogue."""

    models: ClassVar[tuple[str, ...]] = ("gpt2", "llama", "gpt_neox")

    task: str = "dialogue"
    messages_column: str = ""  # the column of the conversations; guessed where empty
    tokenizer: str = "bpe"
    context: int = 128
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: float = 0.1
    deduplicate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer in ("chars", "bytes", "wordpiece"):
            raise TinylmError(f"tokenizer is {self.tokenizer!r}, without a token that ends a text: take bpe or unigram")


class Dialogue(TaskKind):
    """Dialogue. The loss counts on what the assistant writes."""

    name = "dialogue"
    settings_class = DialogueSettings
    presets = MappingProxyType({"default": {}})
    head = "language"
    sample_title = "how it answers what is held out"
    settings: DialogueSettings

    def read_data(self) -> None:
        self.records = read_records(self.settings, ("messages",), progress=self.progress)
        for line in self.records.summary().splitlines():
            self.notify(line)
        share = self.settings.validation
        parts = self.records.split(share, stratify=None) if share else (self.records,)
        self.train, self.held_out = parts[0], parts[1] if share else None

    @property
    def fingerprint(self) -> str:
        return self.records.fingerprint()

    def learn_tokenizer(self) -> Tokenizer:
        texts = [
            f"{message['role'].capitalize()}:\n{message['content']}\n\n"
            for record in self.train
            for message in record["messages"]
        ]
        return build_tokenizer(self.settings, Corpus(self.records.name, texts), notify=self.notify)

    def build_tokenizer(self) -> Tokenizer:
        """One with a chat template: that of the model, or else the default one, which is saved with the model."""
        tokenizer = super().build_tokenizer()
        if tokenizer.config.chat_template is None:
            end = tokenizer.end_of_text
            if end is None:
                raise TinylmError(f"{tokenizer!r} has no token that ends a text, which answers need; bpe has")
            tokens = {**tokenizer.config.tokens, "eos_token": tokenizer.token_bytes(end).decode()}
            tokenizer.config = dataclasses.replace(tokenizer.config, chat_template=DEFAULT_TEMPLATE, tokens=tokens)
            self.notify("chat template: the default one (docs/tasks.md)")
        return tokenizer

    def load(self, tokenizer: Tokenizer) -> TeacherForcing:
        self.template = ChatTemplate(tokenizer.config.chat_template or "", tokenizer.config.tokens)
        settings = self.settings
        return TeacherForcing(
            self._examples(self.train, tokenizer, "to learn from"),
            None if self.held_out is None else self._examples(self.held_out, tokenizer, "held out"),
            batch_size=settings.batch_size,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
        )

    def _examples(self, records: Records, tokenizer: Tokenizer, what: str) -> Examples:
        """The conversations in ids. What had to be cut or left out is told."""
        found, cut, empty = [], 0, 0
        for number, record in enumerate(records, 1):
            try:
                ids, answered = conversation_ids(tokenizer, answered_spans(self.template, record["messages"]))
            except TinylmError as error:
                raise TinylmError(f"conversation {number} {what}: {error}") from None
            cut += len(ids) > self.settings.context + 1
            ids, answered = ids[: self.settings.context + 1], answered[: self.settings.context + 1]
            if answered[1:].any():
                found.append(continued(ids, answered))
            else:
                empty += 1
        limit = f"a context of {self.settings.context} tokens"
        if cut:
            self.notify(f"cut {cut:,} of {len(records):,} conversations {what} to {limit}")
        if empty:
            self.notify(f"left out {empty:,} conversations {what}: no answer begins within {limit}")
        return examples_of(found, conditional=False, padding=0)

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        new = {"bos_token_id": None, "eos_token_id": tokenizer.end_of_text}
        return new if self.init is None else {}

    @cached_property
    def _asked(self) -> list[Sequence[Mapping[str, str]]]:
        """The beginnings of some conversations, up to where the assistant answers first."""
        asked: list[Sequence[Mapping[str, str]]] = []
        for record in (self.held_out or self.train)[: 10 * SAMPLES]:
            first = next(at for at, message in enumerate(record["messages"]) if message["role"] == "assistant")
            if first and len(asked) < SAMPLES:
                asked.append(record["messages"][:first])
        return asked

    def describe(self, tokenizer: Tokenizer) -> str:
        held_out = f", {len(self.held_out):,} held out" if self.held_out else ""
        return (
            f"{self.records.name}, {len(self.train):,} conversations{held_out}, {tokenizer.vocab_size} kinds of token"
        )

    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        lines = []
        for messages in self._asked:
            ids = tokenizer.encode(self.template.render(messages, add_generation_prompt=True))
            if len(ids) + SAMPLE_TOKENS <= self.settings.context:
                ends = {tokenizer.end_of_text, *model.end_ids}
                choose = Sampler(temperature=0.0)
                answer = tokenizer.decode(list(generate(model, ids, choose, max_tokens=SAMPLE_TOKENS, stop=ends)))
                lines += [messages[-1]["content"], f"  -> {answer.strip()}"]
        return "\n".join(lines)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        return f"loss {metrics['val_loss']:.4f} on what the assistant writes, accuracy {metrics['val_accuracy']:.1%}"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [(f"tinylm chat {best}", "talk to it")]
