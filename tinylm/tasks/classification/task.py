"""What the trainer takes of a classification: batches of texts of like lengths, the loss of their labels, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.data import LengthBuckets
from tinylm.data.augment import Mixup, draw_mixup
from tinylm.inference import class_probabilities, classifier_inputs
from tinylm.metrics import Scores, classification, confusion_matrix, multilabel
from tinylm.models import label_loss
from tinylm.text import Inputs

__all__ = ["Examples", "LabelTask"]


@dataclass(frozen=True)
class Batch:
    """Encoded texts, the length that they are padded to, the labels' numbers and weights, and how texts are mixed."""

    rows: list[Inputs]
    length: int
    targets: np.ndarray
    weights: np.ndarray | None
    mixup: Mixup | None


@dataclass(frozen=True)
class Examples:
    """Encoded texts and what they are. labels: the right one of each, or of several labels a list."""

    rows: Sequence[Inputs]
    labels: Sequence[str | list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def lengths(self) -> np.ndarray:
        """In tokens, (N,)."""
        return np.array([len(row.ids) for row in self.rows])


class LabelTask:
    """The task (see `tinylm.training.Task`) on texts to train on and texts that are held out.

    names: of the labels, in order; several: whether a text may have any number of them. class_weights: of each label
    in the loss, by name, for labels of which a text has one. draw: what is read instead of the text of a number, in a
    row of a step; None for the text as it is. mixup: the alpha of `draw_mixup` for the embeddings of the texts of a
    batch and their labels; None for none.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples,
        names: Sequence[str],
        *,
        batch_size: int,
        several: bool = False,
        seed: int = 0,
        label_smoothing: float = 0.0,
        class_weights: Mapping[str, float] | None = None,
        draw: Callable[[int, int, int], Inputs] | None = None,
        mixup: float | None = None,
    ):
        self.train, self.validation, self.names, self.several = train, validation, list(names), several
        self.batch_size, self.label_smoothing, self.seed = batch_size, label_smoothing, seed
        self._draw, self._alpha = draw, mixup
        self._drawn: tuple[int, list[Inputs]] = (-1, [])  # the last step, and its texts
        self._buckets = LengthBuckets(train.lengths, batch_size=batch_size, seed=seed)
        self._targets = self._numbers(train.labels)
        self._weights: np.ndarray | None = None
        if class_weights is not None:
            self._weights = np.array([class_weights.get(name, 0) for name in self.names], np.float32)
        # The probabilities of what is held out, (N, labels), as they were last measured.
        self.measured: np.ndarray | None = None

    def _numbers(self, labels: Sequence[str | list[str]]) -> np.ndarray:
        """(N,) the number of the label of each; of several, (N, labels) of 0 and 1."""
        number_of = {name: number for number, name in enumerate(self.names)}
        if not self.several:
            return np.array([number_of[label] for label in labels])  # type: ignore[index]
        table = np.zeros((len(labels), len(self.names)), np.float32)
        for row, several in zip(table, labels, strict=True):
            row[[number_of[label] for label in several]] = 1
        return table

    def batch(self, step: int, rows: slice) -> Batch:
        """Slices of a batch are as long as the whole of it."""
        texts = self._texts(step)
        length = max(len(text.ids) for text in texts)
        targets = self._targets[self._buckets.rows(step)[rows]]
        weights = None if self._weights is None else self._weights[targets]
        if self._alpha is None:
            return Batch(texts[rows], length, targets, weights, None)
        mixup = draw_mixup(len(targets), alpha=self._alpha, seed=self.seed, step=step, first_row=rows.start or 0)
        return Batch(texts[rows], length, *self._mixed(targets, weights, mixup), mixup)

    def _texts(self, step: int) -> list[Inputs]:
        """The texts of the whole batch of a step, as they are read in it."""
        numbers = self._buckets.rows(step)
        if self._draw is None:
            return [self.train.rows[number] for number in numbers]
        if self._drawn[0] != step:
            self._drawn = (step, [self._draw(int(number), step, row) for row, number in enumerate(numbers)])
        return self._drawn[1]

    def _mixed(
        self, targets: np.ndarray, weights: np.ndarray | None, mixup: Mixup
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The labels of mixed texts: of one label a text, first its own and then its partner's, by their weights."""
        if self.several:
            return mixup.mix(targets), None
        both = np.concatenate([targets, targets[mixup.partner]])
        shares = np.concatenate([mixup.weight, 1 - mixup.weight]).astype(np.float32)
        return both, shares if weights is None else shares * np.concatenate([weights, weights[mixup.partner]])

    def loss(self, model: Any, batch: Batch) -> Tensor:
        ids, seen = classifier_inputs(model, batch.rows, batch.length)
        logits = model(ids, **seen) if batch.mixup is None else self._mixed_logits(model, ids, seen, batch.mixup)
        problem, smoothing = model.config.problem_type, self.label_smoothing
        return label_loss(logits, batch.targets, problem, batch.weights, label_smoothing=smoothing)

    def _mixed_logits(self, model: Any, ids: np.ndarray, seen: dict[str, np.ndarray], mixup: Mixup) -> Tensor:
        """Logits of mixed embeddings; where each has two labels, twice. A mixture is as long as the longer text."""
        if "key_mask" in seen:
            seen = {**seen, "key_mask": seen["key_mask"] | seen["key_mask"][mixup.partner]}
        with model.tokens.changed(mixup.mix):
            logits = model(ids, **seen)
        return logits if self.several else logits[np.tile(np.arange(len(ids)), 2)]

    def count(self, batch: Batch) -> float:
        return len(batch.rows) if batch.weights is None else float(batch.weights.sum())

    def tokens(self, batch: Batch) -> int:
        return sum(len(row.ids) for row in batch.rows)

    def evaluate(self, model: Any) -> dict[str, float]:
        """The loss without weights or smoothing, and the scores of `tinylm.metrics`, of all that is held out."""
        if not len(self.validation):
            return {}
        self.measured = class_probabilities(model, self.validation.rows)
        return {"loss": self._loss(self.measured), **self.scores(self.measured).result()}

    def _loss(self, p: np.ndarray) -> float:
        """From probabilities; none counts as less than the smallest of float32."""
        logarithms = np.log(np.maximum(p, np.finfo(np.float32).tiny))
        targets = self._numbers(self.validation.labels)
        if not self.several:
            return float(-logarithms[np.arange(len(p)), targets].mean())
        others = np.log(np.maximum(1 - p, np.finfo(np.float32).tiny))
        return float(-(targets * logarithms + (1 - targets) * others).mean())

    def scores(self, p: np.ndarray) -> Scores:
        """Those of probabilities (N, labels) of what is held out."""
        measure: Any = multilabel if self.several else classification
        return measure(p, self.validation.labels, self.names)

    def confusion(self) -> np.ndarray | None:
        """(labels, labels): how many held-out texts of the row's label were given the column's; None if not known."""
        if self.measured is None or self.several:
            return None
        given = [self.names[number] for number in self.measured.argmax(axis=1)]
        return confusion_matrix(given, self.validation.labels, self.names)
