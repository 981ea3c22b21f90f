"""Classification as a kind of task: from records with texts and labels to a model that labels texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinylm.data import Corpus, Progress
from tinylm.data.augment import Augmenter, Compose
from tinylm.data.records import Records
from tinylm.errors import TinylmError
from tinylm.inference import BeamGenerator, class_probabilities, encode_text
from tinylm.metrics import Scores, classification, multilabel
from tinylm.models.heads import MULTI_LABEL, SINGLE_LABEL
from tinylm.text import Inputs, Tokenizer, find_special

from ..augmentation import MIXUP, read_augment, text_change
from ..kind import Paths
from ..records import EncoderSettings, RecordKind
from ..settings import RECURRENT, check_choice
from ..tokenizers import build_tokenizer
from .task import Examples, LabelTask

__all__ = ["Classification", "ClassificationSettings"]

RECURRENT_PRESET = {"layers": 1, "learning_rate": 3e-3, "weight_decay": 0.01, "tie_embeddings": False}
CHARACTERS = 16  # of a text that is changed, for each token of the context: the rest would be cut
SHOWN = 12  # labels of a confusion matrix that people look at


@dataclass(frozen=True)
class ClassificationSettings(EncoderSettings):
    """The settings of classification."""

    models: ClassVar[tuple[str, ...]] = ("bert", "gpt2", "llama", "gpt_neox", *RECURRENT)

    task: str = "classification"
    text_column: str = ""  # the column of the text; guessed where empty, as the next two are
    label_column: str = ""
    pair_column: str = ""  # of a second text, where examples are pairs
    label_separator: str = ""  # between the labels of one text, where it may have several: "|"
    class_weights: str = "none"  # balanced: all labels count alike in the loss, however many examples they have
    augment: tuple[str, ...] = ()  # changes of the texts to learn from, NAME or NAME:STRENGTH: docs/augmentation.md
    thesaurus: str = ""  # of augment=synonyms: a MyThes file, or the folder of WordNet
    masked_model: str = ""  # of augment=context
    translators: tuple[str, ...] = ()  # of augment=back-translation: a model there, and one back
    steps: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("class_weights", self.class_weights, ("none", "balanced"))
        read_augment(self.augment)


class Classification(RecordKind):
    """Classification of texts, or of pairs of texts, by one label each or by several."""

    name = "classification"
    settings_class = ClassificationSettings
    presets = MappingProxyType(
        {"default": {}, "llama": {"dropout": 0.0}, "lstm": RECURRENT_PRESET, "gru": RECURRENT_PRESET}
    )
    head = "classification"
    metric = "f1_macro"
    augments = True
    sample_title = "what it says of what is held out"
    columns = MappingProxyType({"text": "text_column", "text_pair": "pair_column", "label": "label_column"})
    optional = ("text_pair",)
    settings: ClassificationSettings

    def read_data(self) -> None:
        super().read_data()
        settings = self.settings
        found = [self._label_of(record) for record in self.records]
        self.several = any(isinstance(label, list) for label in found)
        self.names = sorted({name for label in found for name in _as_list(label)})
        if len(self.names) < 2:
            raise TinylmError(f"{self.records.name}: nothing to tell apart: the labels are {self.names}")
        if self.several and (settings.class_weights != "none" or settings.label_smoothing):
            raise TinylmError("class_weights and label_smoothing are for texts with one label each")

    def _label_of(self, record: Mapping[str, Any]) -> str | list[str]:
        label, separator = record["label"], self.settings.label_separator
        if separator and isinstance(label, str):
            return [part.strip() for part in label.split(separator) if part.strip()]
        return label

    def learn_tokenizer(self) -> Tokenizer:
        """Learnt from the texts to train on."""
        texts = [text for record in self.train for text in (record["text"], record.get("text_pair")) if text]
        return build_tokenizer(self.settings, Corpus(self.records.name, texts), notify=self.notify)

    def load(self, tokenizer: Tokenizer) -> LabelTask:
        settings = self.settings
        balanced = settings.class_weights == "balanced"
        train, validation = (self._encode(part, tokenizer) for part in (self.train, self.validation))
        self._tell_lengths(train, validation)
        self.task = LabelTask(
            train,
            validation,
            self.names,
            batch_size=settings.batch_size,
            several=self.several,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
            class_weights=self.train.class_weights() if balanced else None,
            draw=self._drawn(tokenizer),
            mixup=read_augment(settings.augment).get(MIXUP),
        )
        return self.task

    def _drawn(self, tokenizer: Tokenizer) -> Callable[[int, int, int], Inputs] | None:
        """What the text of a number becomes in a row of a step; None where texts stay as they are."""
        settings = self.settings
        changes = [change for change in (text_change(settings), self.change) if change is not None]
        if not changes:
            return None
        most = CHARACTERS * settings.context
        change = Compose([lambda text, random: text[:most], *changes])
        augment = Augmenter(change, seed=settings.seed, fields=("text", "text_pair"))

        def draw(number: int, step: int, row: int) -> Inputs:
            record = augment(self.train[number], step=step, row=row)
            return encode_text(tokenizer, record["text"], record.get("text_pair"), settings.context)

        return draw

    def _encode(self, records: Records, tokenizer: Tokenizer) -> Examples:
        rows = [encode_text(tokenizer, r["text"], r.get("text_pair"), self.settings.context) for r in records]
        labels = [self._label_of(record) for record in records]
        return Examples(rows, [_as_list(label) for label in labels] if self.several else labels)

    def _tell_lengths(self, *parts: Examples) -> None:
        lengths = np.concatenate([part.lengths for part in parts])
        cut = int((lengths == self.settings.context).sum())
        self.notify(
            f"lengths: median {int(np.median(lengths))} tokens, 99 % up to {int(np.quantile(lengths, 0.99))}; "
            f"{cut:,} of {len(lengths):,} fill the context of {self.settings.context} and may have been cut; "
            f"an epoch takes {max(len(parts[0]) // self.settings.batch_size, 1):,} steps"
        )

    def model_settings(self, tokenizer: Tokenizer) -> dict[str, Any]:
        padding = find_special(tokenizer, "pad_token")
        return {
            "id2label": {str(number): name for number, name in enumerate(self.names)},
            "label2id": {name: number for number, name in enumerate(self.names)},
            "problem_type": MULTI_LABEL if self.several else SINGLE_LABEL,
            "pad_token_id": tokenizer.end_of_text if padding is None else padding,
        }

    @classmethod
    def measure_model(
        cls, lm: BeamGenerator, data: Paths, *, progress: Progress | None = None, **columns: str | None
    ) -> Scores:
        """The scores of labels; an example is a text."""
        records = cls.open_other(data, progress, **columns)
        model = lm.model
        rows = [encode_text(lm.tokenizer, r["text"], r.get("text_pair"), model.context) for r in records]
        several = model.config.problem_type == MULTI_LABEL
        labels = [_as_list(label) if several else label for label in records.column("label")]
        measure: Any = multilabel if several else classification
        scores = measure(class_probabilities(model, rows), labels, model.config.label_names)
        return replace(scores, examples=records.fingerprint())

    def use(self) -> dict[str, Any]:
        return {"pairs": "text_pair" in self.records.fields}

    def describe(self, tokenizer: Tokenizer) -> str:
        held = f"{len(self.train):,} texts to train on, {len(self.validation):,} held out"
        return f"{held}, {len(self.names)} labels, {tokenizer.vocab_size:,} kinds of tokens"

    def sample(self, model: Any, tokenizer: Tokenizer) -> str:
        """How the labels of what is held out are confused, as last measured."""
        matrix = self.task.confusion()
        if matrix is None or len(self.names) > SHOWN:
            return ""
        return confusion_table(matrix, self.names)

    def headline(self, tokenizer: Tokenizer, metrics: Mapping[str, float]) -> str:
        figures = {"accuracy": "accuracy", "exact_match": "exact match", "f1_micro": "micro F1", "f1_macro": "macro F1"}
        shown = [f"{words} {metrics[f'val_{name}']:.4f}" for name, words in figures.items() if f"val_{name}" in metrics]
        return f"{', '.join(shown)} (loss {metrics['val_loss']:.4f})"

    def next_steps(self, best: Path) -> list[tuple[str, str]]:
        pair = ' --pair "..."' if "text_pair" in self.records.fields else ""
        return [
            (f'tinylm classify {best} "..."{pair}', "what it says of a text"),
            (f"tinylm classify {best} FILE", "and of each text of a file"),
        ]


def _as_list(label: str | list[str]) -> list[str]:
    return label if isinstance(label, list) else [label]


def confusion_table(matrix: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix for people: a row for each right label, a column for each that was given."""
    rows = [["is \\ said", *names], *([name, *map(str, row)] for name, row in zip(names, matrix.tolist(), strict=True))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    first = widths[0]
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
