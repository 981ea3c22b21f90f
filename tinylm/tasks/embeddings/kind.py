"""Embeddings as a kind of task: from records with pairs, scored pairs or texts to a model that makes vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinylm.autograd import Tensor
from tinylm.data import Corpus, Progress
from tinylm.data.records import Records
from tinylm.errors import TinylmError
from tinylm.formats import Pooling
from tinylm.inference import encoder_rows, unit
from tinylm.metrics import Scores
from tinylm.models import Encoder, Model
from tinylm.text import Tokenizer, find_special

from ..kind import Paths
from ..records import EncoderSettings, RecordKind, columns_of
from ..settings import INFINITY, check_choice, check_range
from ..tokenizers import build_tokenizer
from .pairs import Pairs, pair_scores
from .task import EmbeddingTask

__all__ = ["EmbeddingSettings", "Embeddings"]

PAIRS, SCORES, TEXTS = "pairs", "scores", "texts"
# What a record has, and the setting that names the column of each field.
FIELDS = {
    PAIRS: ("anchor", "positive", "negatives", "score"),
    SCORES: ("anchor", "positive", "score"),
    TEXTS: ("text",),
}
OPTIONAL: dict[str, tuple[str, ...]] = {PAIRS: ("negatives", "score"), SCORES: (), TEXTS: ()}
METRICS = {PAIRS: "recall@1", SCORES: "spearman", TEXTS: "loss"}
SAMPLES = 3  # held-out texts that people see what is found for


@dataclass(frozen=True)
class EmbeddingSettings(EncoderSettings):
    """The settings of embeddings."""

    models: ClassVar[tuple[str, ...]] = ("bert",)

    task: str = "embeddings"
    objective: str = PAIRS  # of pairs that belong together; or scores of pairs; or texts, each told from the others
    text_column: str = ""  # of the objective texts; guessed where empty, as the next four are
    anchor_column: str = ""
    positive_column: str = ""
    negatives_column: str = ""
    score_column: str = ""
    temperature: float = 0.05  # that cosines are divided by; Gao et al. 2021, arXiv:2104.08821, section 3
    pooling: str = ""  # mean, max or first; where empty, that of the model to begin with, of a new one the mean
    measured: int = 1000  # held-out pairs that are measured at each validation
    context: int = 64
    steps: int = 1000
    batch_size: int = 64  # the more, the more texts each is told from

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("objective", self.objective, tuple(FIELDS))
        check_choice("pooling", self.pooling, ("", "mean", "max", "first"))
        check_range("measured", self.measured, 1, INFINITY)
        if self.temperature <= 0:
            raise TinylmError(f"temperature is {self.temperature}, expected more than 0")
        if self.objective == TEXTS and not self.dropout and not self.init:
            raise TinylmError("objective=texts tells a text from itself by dropout: it takes more than dropout=0")
        if self.accumulate > 1 and self.objective != SCORES:
            raise TinylmError(
                f"accumulate={self.accumulate}: a text is told from all others of its batch, which cannot be cut; "
                "gradient_checkpointing=true needs less memory"
            )


class Embeddings(RecordKind):
    """Vectors of texts by an encoder: near each other for texts that belong together."""

    name = "embeddings"
    settings_class = EmbeddingSettings
    presets = MappingProxyType({"default": {}})
    columns = columns_of(*FIELDS[PAIRS])
    optional = OPTIONAL[PAIRS]
    head = "none"
    metric = METRICS[PAIRS]
    sample_title = "what it finds for texts that are held out"
    settings: EmbeddingSettings

    @classmethod
    def metric_of(cls, settings: Any) -> str:
        return METRICS[settings.objective]

    @classmethod
    def head_for(cls, family: type[Model]) -> str:
        if not issubclass(family, Encoder):
            raise TinylmError(f"vectors of texts are made by encoders: bert, distilbert; this is {family.model_type}")
        return cls.head

    def read_data(self) -> None:
        objective = self.settings.objective
        self.columns = columns_of(*FIELDS[objective])
        self.optional = OPTIONAL[objective]
        super().read_data()
        if objective == PAIRS and "score" in self.records.fields:
            raise TinylmError(
                f"{self.records.name}: its pairs have scores. --set objective=scores learns them; a table of nothing "
                "but pairs that belong together has no such column"
            )
        self.largest = max((abs(record["score"]) for record in self.records), default=0) if objective == SCORES else 0
        if self.largest > 1:
            self.notify(f"scores up to {self.largest:g}: divided by that, as cosines are at most 1")

    def _records(self, records: Records) -> Iterator[dict[str, Any]]:
        """The same as pairs, scores as cosines."""
        for record in records:
            if "text" in record:
                yield {"anchor": record["text"]}
            elif "score" in record:
                yield {**record, "score": record["score"] / max(self.largest, 1.0)}
            else:
                yield record

    def learn_tokenizer(self) -> Tokenizer:
        """Learnt from the texts to train on, each once."""
        texts = dict.fromkeys(
            text
            for record in self._records(self.train)
            for text in (record["anchor"], record.get("positive", ""), *record.get("negatives", ()))
        )
        return build_tokenizer(self.settings, Corpus(self.records.name, list(texts)), notify=self.notify)

    def load(self, tokenizer: Tokenizer) -> EmbeddingTask:
        settings = self.settings
        self.task = EmbeddingTask(
            Pairs.of(self._records(self.train)),
            Pairs.of(self._records(self.validation[: settings.measured])),
            partial(encoder_rows, tokenizer, max_tokens=settings.context),
            batch_size=settings.batch_size,
            temperature=settings.temperature,
            mode=self.pooling().mode,
            searched=settings.objective != TEXTS,
            seed=settings.seed,
        )
        lengths, context = self.task.lengths, settings.context
        self.notify(
            f"lengths: median {int(np.median(lengths))} tokens, 99 % up to {int(np.quantile(lengths, 0.99))}; "
            f"{int((lengths == context).sum()):,} of {len(lengths):,} texts fill the context of {context} and may have "
            f"been cut; an epoch takes {max(len(self.train) // settings.batch_size, 1):,} steps"
        )
        return self.task

    def pooling(self) -> Pooling:
        """What the settings say, or the folder of the model to begin with; vectors of length 1."""
        own = self.init.get_pooling() if self.init is not None else Pooling()
        return Pooling(self.settings.pooling or own.mode, normalize=True, max_tokens=self.settings.context)

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """A pooler, which reads the first token's state, is kept where there is one, and not made."""
        if self.init is None:
            return {"pad_token_id": find_special(tokenizer, "pad_token"), "add_pooling_layer": False}
        has_one = getattr(self.init.empty_model(), "pooler", None) is not None
        return {} if has_one else {"add_pooling_layer": False}

    def build_model(self, tokenizer: Tokenizer) -> Model:
        model = super().build_model(tokenizer)
        for name, parameter in model.named_parameters():
            if name.startswith("pooler."):  # nothing here reads it
                parameter.requires_grad = False
        return model

    @classmethod
    def measure_model(cls, lm: Any, data: Paths, *, progress: Progress | None = None, **columns: str | None) -> Scores:
        """The scores of a search for what belongs to each text, or where the pairs have scores, of cosines beside them.

        An example is an anchor, or a pair.
        """
        records = cls.open_other(data, progress, **columns)
        pairs = Pairs.of(records)
        vectors = unit(Tensor(lm.embed(pairs.texts))).data
        return replace(pair_scores(pairs, vectors), examples=records.fingerprint())

    def describe(self, tokenizer: Tokenizer) -> str:
        what = TEXTS if self.settings.objective == TEXTS else PAIRS
        held = f"{len(self.train):,} {what} to train on, {len(self.validation):,} held out"
        return f"{held}, {tokenizer.vocab_size:,} kinds of tokens"

    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        """For the first texts that are held out, what is nearest among the others, as last measured."""
        vectors, pairs = self.task.measured, self.task.validation
        if vectors is None:
            return ""
        lines = []
        for anchor, positive in zip(pairs.anchors[:SAMPLES], pairs.positives, strict=False):
            others = np.unique(pairs.positives[pairs.positives != anchor])
            if not len(others):
                continue
            cosines = vectors[others] @ vectors[anchor]
            best = others[cosines.argmax()]
            lines += [_line(pairs.texts[anchor]), f"  -> {cosines.max():.2f} {_line(pairs.texts[best])}"]
            if self.settings.objective == PAIRS:
                lines.append(f"  ({_line(pairs.texts[positive])})")
        return "\n".join(lines)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        figures = {"recall@1": "recall@1", "mrr": "MRR", "spearman": "Spearman", "pearson": "Pearson"}
        shown = [f"{words} {metrics[f'val_{name}']:.4f}" for name, words in figures.items() if f"val_{name}" in metrics]
        return f"{', '.join(shown)} (loss {metrics['val_loss']:.4f})" if shown else f"loss {metrics['val_loss']:.4f}"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        return [
            (f'tinylm search {best} FILE "..."', "what in a file is nearest in meaning"),
            (f"tinylm embed {best} FILE --out vectors.npy", "a vector for each text of a file"),
        ]


def _line(text: str) -> str:
    return " ".join(text.split())[:100]
