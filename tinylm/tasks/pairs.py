"""Tasks whose answer is a text: pairs of a source and a target, which an encoder-decoder or a causal model learns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinylm.data import Corpus, Progress, Records
from tinylm.errors import TinylmError
from tinylm.formats import GenerationConfig, read_generation_config
from tinylm.inference import BeamGenerator, PairFormat, answer_sources, prompt_fields, write_targets
from tinylm.metrics import Scores
from tinylm.models import FAMILIES, EncoderDecoder, Model
from tinylm.text import Tokenizer

from .kind import Paths
from .records import RecordKind, RecordSettings
from .settings import INFINITY, check_range
from .teacher_forcing import Examples, TeacherForcing, continued, examples_of
from .tokenizers import build_tokenizer

__all__ = ["PairKind", "PairSettings"]

SAMPLES = 3  # held-out sources that people see the targets of


@dataclass(frozen=True)
class PairSettings(RecordSettings):
    """The settings of tasks whose answer is a text."""

    models: ClassVar[tuple[str, ...]] = ("marian", "bart", "t5", "gpt2", "llama", "gpt_neox")

    model: str = "marian"
    tokenizer: str = "bpe"
    layers: int = 2
    batch_size: int = 32
    learning_rate: float = 2e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    prompt: str = ""  # how a source is written down, with its {fields}; the task's own where empty
    written: int = 200  # held-out sources whose targets are written and measured at each validation

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("written", self.written, 0, INFINITY)
        if self.tokenizer in ("chars", "bytes", "wordpiece"):
            raise TinylmError(f"tokenizer is {self.tokenizer!r}, without a token that ends a text: take bpe or unigram")


class PairKind(RecordKind):
    """A task on pairs. A subclass says which fields a source has, how a prompt puts them, and how targets are measured.

    source: the fields of a source; target: the field of the target; together they are its columns.
    """

    presets = MappingProxyType({"default": {}})
    sample_title = "what it makes of texts that are held out"
    source: ClassVar[tuple[str, ...]]
    target: ClassVar[str]
    settings: PairSettings

    @classmethod
    def head_for(cls, family: type[Model]) -> str:
        """What the family predicts: texts from texts."""
        return family.main_head

    @classmethod
    @abstractmethod
    def prompt(cls, fields: Sequence[str], *, conditional: bool) -> str:
        """How a source of these fields is written down, for an encoder, or for a model that goes on with it."""

    @classmethod
    @abstractmethod
    def measure(cls, written: Sequence[str], right: Sequence[Any], sources: Sequence[Mapping[str, str]]) -> Scores:
        """The metrics of targets that were written. right: what the records hold; sources: their fields."""

    @classmethod
    def texts(cls, target: Any) -> list[str]:
        """The right targets of a record; the first of them is learnt."""
        return [target]

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The scores of targets that are written for sources; an example is a record. It warns of what it cuts."""
        records = cls.open_other(data, progress, **columns)
        written = answer_sources(lm, cls.name, list(records), {})
        scores = cls.measure(written, list(records.column(cls.target)), list(records))
        return replace(scores, examples=records.fingerprint())

    @cached_property
    def conditional(self) -> bool:
        """Whether an encoder reads the sources."""
        return issubclass(FAMILIES[self.settings.model], EncoderDecoder)

    @cached_property
    def chosen_prompt(self) -> str:
        """The prompt of the settings, or else of the task."""
        known = [name for name in self.source if name in self.records.fields]
        chosen = self.settings.prompt or self.prompt(known, conditional=self.conditional)
        if unknown := [name for name in prompt_fields(chosen) if name not in known]:
            raise TinylmError(f"prompt names {{{unknown[0]}}}; the fields of a source are {', '.join(known)}")
        return chosen

    def learn_tokenizer(self) -> Tokenizer:
        """One vocabulary for both sides."""
        texts = [
            text
            for record in self.train
            for text in (*(record[name] for name in self.source if name in record), *self.texts(record[self.target]))
            if text
        ]
        return build_tokenizer(self.settings, Corpus(self.records.name, texts), notify=self.notify)

    def load(self, tokenizer: Tokenizer) -> TeacherForcing:
        settings = self.settings
        self.end = self._end(tokenizer)
        self.format = PairFormat(tokenizer, self.chosen_prompt, self.conditional, settings.context, self.end)
        self.longest = 0  # target, in tokens
        train = self._examples(self.train, "to learn from")
        return TeacherForcing(
            train,
            self._examples(self.validation, "held out"),
            batch_size=settings.batch_size,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
            measure=self._measure,
        )

    def _examples(self, records: Records, what: str) -> Examples:
        """The records in ids. What had to be cut is told."""
        pairs, cut = [], 0
        for record in records:
            source, target, whole = self._pair(record, self.texts(record[self.target])[0])
            pairs.append((source, target) if self.conditional else self._continued(source, target))
            self.longest, cut = max(self.longest, len(target)), cut + (not whole)
        if cut:
            self.notify(f"cut {cut:,} of {len(pairs):,} pairs {what} to a context of {self.settings.context} tokens")
        padding = self.end if self.init is None or not self.conditional else self._init_config.pad_token_id
        return examples_of(pairs, conditional=self.conditional, padding=padding)

    def _pair(self, record: Mapping[str, Any], text: str) -> tuple[np.ndarray, np.ndarray, bool]:
        """The ids of a source and of its target, and whether both are whole."""
        target, most = self.format.target_ids(text), self.format.most_of_target()
        kept = target[:most]
        source, cut = self.format.source(record, self.format.room(len(kept)))
        return self.format.source_ids(source), kept, not cut and len(kept) == len(target)

    @staticmethod
    def _continued(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return continued(np.concatenate([source, target]), np.arange(len(source) + len(target)) >= len(source))

    @cached_property
    def _init_config(self) -> Any:
        """The config of the model that the run begins with."""
        return None if self.init is None else self.init.family.read_config(self.init.settings)

    def _end(self, tokenizer: Tokenizer) -> int:
        """The token that ends a target: the model's, or else the tokenizer's."""
        end: Any = getattr(self._init_config, "eos_token_id", None)
        end = end[0] if isinstance(end, list) and end else end
        end = tokenizer.end_of_text if end is None else end
        if end is None:
            raise TinylmError(f"{tokenizer!r} has no token that ends a text, which targets need; bpe and unigram have")
        return end

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Of a new model: the token that ends a target, which begins it as well, and fills up."""
        if self.init is not None:
            return {}
        ends = {"bos_token_id": None, "eos_token_id": self.end}
        return ends | ({"pad_token_id": self.end, "decoder_start_token_id": self.end} if self.conditional else {})

    def use(self) -> dict[str, Any]:
        return {"prompt": self.chosen_prompt, "max_tokens": self.longest, "context": self.settings.context}

    def _write(self, model: Any, records: Records) -> list[str]:
        config = GenerationConfig() if self.init is None else read_generation_config(self.init)
        texts = [self.format.source(record, self.format.room(self.longest))[0] for record in records]
        return write_targets(model, self.format, texts, max_tokens=self.longest, config=config)

    def _measure(self, model: Any) -> dict[str, float]:
        if not self.validation or not self.settings.written:
            return {}
        chosen = self.validation[: self.settings.written]
        return self.measure(self._write(model, chosen), list(chosen.column(self.target)), list(chosen)).result()

    def describe(self, tokenizer: Tokenizer) -> str:
        held_out = f", {len(self.validation):,} held out" if self.validation else ""
        return f"{self.records.name}, {len(self.train):,} pairs{held_out}, tokens of {tokenizer.vocab_size} kinds"

    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        chosen = (self.validation or self.train)[:SAMPLES]
        lines = []
        for record, written in zip(chosen, self._write(model, chosen), strict=True):
            lines += [record[self.source[0]], f"  -> {written}", f"  ({self.texts(record[self.target])[0]})"]
        return "\n".join(lines)
