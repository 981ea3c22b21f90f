"""Dialogue: a causal model learns to answer, from conversations in which an assistant does."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import no_grad
from tinylm.data import IGNORE, Corpus, Omissions, Progress, Records
from tinylm.errors import TinylmError
from tinylm.inference import BeamGenerator, Sampler, answered_spans, conversation_ids, generate
from tinylm.inference.chat import DEFAULT_TEMPLATE, find_template
from tinylm.inference.chat.template import Template
from tinylm.metrics import Scores, language
from tinylm.models import CausalLanguageModel
from tinylm.text import Tokenizer

from .kind import Paths
from .records import RecordKind, RecordSettings, columns_of
from .teacher_forcing import TeacherForcing, continued, examples_of
from .tokenizers import build_tokenizer

__all__ = ["Dialogue", "DialogueSettings"]

SAMPLES, SAMPLE_TOKENS = 3, 60
Encoded = tuple[np.ndarray, np.ndarray]  # what a model reads, and what it predicts where the assistant writes, (n,)


@dataclass(frozen=True)
class DialogueSettings(RecordSettings):
    """The settings of dialogue."""

    models: ClassVar[tuple[str, ...]] = ("gpt2", "llama", "gpt_neox")

    task: str = "dialogue"
    messages_column: str = ""  # the column of the conversations; guessed where empty
    tokenizer: str = "bpe"
    context: int = 128
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tokenizer in ("chars", "bytes", "wordpiece"):
            raise TinylmError(f"tokenizer is {self.tokenizer!r}, without a token that ends a text: take bpe or unigram")


class Dialogue(RecordKind):
    """Dialogue. The loss counts on what the assistant writes."""

    name = "dialogue"
    settings_class = DialogueSettings
    presets = MappingProxyType({"default": {}})
    head = "language"
    sample_title = "how it answers what is held out"
    columns = columns_of("messages")
    settings: DialogueSettings

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
        self.template = find_template(tokenizer)
        self.train, train = self._encode(self.train, tokenizer, "to learn from")
        self.validation, validation = self._encode(self.validation, tokenizer, "held out")
        settings = self.settings
        return TeacherForcing(
            examples_of(train, conditional=False, padding=0),
            examples_of(validation, conditional=False, padding=0),
            batch_size=settings.batch_size,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
        )

    def _encode(self, records: Records, tokenizer: Tokenizer, what: str) -> tuple[Records, list[Encoded]]:
        """The conversations that can be used, and these in ids. What had to be cut or left out is told."""
        settings = self.settings
        kept, encoded, told = encode_conversations(
            records, tokenizer, self.template, settings.context, strict=settings.strict
        )
        for message in told:
            self.notify(f"{what}: {message}")
        return records.select(kept), encoded

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The loss of what the assistant writes and what follows from it; an example is a conversation."""
        records = cls.open_other(data, progress, **columns)
        _, encoded, told = encode_conversations(records, lm.tokenizer, find_template(lm.tokenizer), lm.model.context)
        for message in told:
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        return measure_conversations(lm.model, encoded, lm.tokenizer.byte_lengths())

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        new = {"bos_token_id": None, "eos_token_id": tokenizer.end_of_text}
        return new if self.init is None else {}

    @cached_property
    def _asked(self) -> list[Sequence[Mapping[str, str]]]:
        """The beginnings of some conversations, up to where the assistant answers first."""
        asked: list[Sequence[Mapping[str, str]]] = []
        for record in (self.validation or self.train)[: 10 * SAMPLES]:
            first = next(at for at, message in enumerate(record["messages"]) if message["role"] == "assistant")
            if first and len(asked) < SAMPLES:
                asked.append(record["messages"][:first])
        return asked

    def describe(self, tokenizer: Tokenizer) -> str:
        held_out = f", {len(self.validation):,} held out" if self.validation else ""
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


def encode_conversations(
    records: Records, tokenizer: Tokenizer, template: Template, context: int | None, *, strict: bool = False
) -> tuple[list[int], list[Encoded], list[str]]:
    """The numbers of the conversations that can be used, what a model reads and predicts of each, and what to tell.

    context: tokens that it looks at; what is longer is cut at its end. A conversation that the template refuses is
    counted and named, or where strict raises FileFormatError; so do all where none is left.
    """
    kept, encoded, cut, empty = [], [], 0, 0
    refused = Omissions(records=len(records))
    for number, record in enumerate(records):
        try:
            ids, answered = conversation_ids(tokenizer, answered_spans(template, record["messages"]))
        except TinylmError as error:
            refused.skip(records.refuse(number, str(error)))
            if strict:
                raise refused.named[-1] from None
            continue
        most = len(ids) if context is None else context + 1
        cut += len(ids) > most
        if answered[1:most].any():
            kept.append(number)
            encoded.append(continued(ids[:most], answered[:most]))
        else:
            empty += 1
    if refused.first and not kept:
        raise refused.first
    told, limit = refused.messages(), f"a context of {context} tokens"
    if cut:
        told.append(f"cut {cut:,} of {len(records):,} conversations to {limit}")
    if empty:
        told.append(f"left out {empty:,} conversations: no answer begins within {limit}")
    return kept, encoded, told


def measure_conversations(model: CausalLanguageModel, encoded: Sequence[Encoded], byte_lengths: np.ndarray) -> Scores:
    """A row for each conversation, of the tokens that the assistant writes."""
    found, examples = [], hashlib.blake2b(digest_size=16)
    for ids, targets in encoded:
        with no_grad():
            logits = model(ids[None]).data[0]
        counted = targets != IGNORE
        n_bytes = byte_lengths[np.where(counted, targets, 0)]
        losses, correct = K.cross_entropy(logits, targets), logits.argmax(axis=-1) == targets
        found.append(language(*(row[None] for row in (losses, correct, counted, n_bytes))))
        examples.update(ids.tobytes() + targets.tobytes())
    return replace(reduce(operator.add, found), examples=examples.hexdigest())
