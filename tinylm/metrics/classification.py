"""How well classes are told apart: one label an example, or any number of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import TinylmError
from .probabilities import area_under_curve, brier_score, calibration_error, log_loss
from .scores import Scores, check_lengths

__all__ = ["LabelScores", "classification", "confusion_matrix", "label_scores", "multilabel"]


@dataclass(frozen=True)
class LabelScores:
    """Of one label; support: how many examples have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class _Classification:
    """rows: the label predicted and the right one, by number; then, where there are any, the C probabilities."""

    labels: tuple[str, ...]

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        matrix = confusion_matrix(rows[:, 0].astype(int), rows[:, 1].astype(int), range(len(self.labels)))
        hits, predicted, wanted = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
        present = predicted + wanted > 0
        averages = _averages(hits[present], predicted[present], wanted[present])
        figures = {"accuracy": float(hits.sum() / len(rows))} | averages
        return figures | self._of_probabilities(rows[:, 1].astype(int), rows[:, 2:])

    def _of_probabilities(self, wanted: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
        if not probabilities.size:
            return {}
        figures = {
            "log_loss": log_loss(probabilities, wanted),
            "brier": brier_score(probabilities, wanted),
            "calibration_error": calibration_error(probabilities, wanted),
        }
        if len(self.labels) == 2:
            figures["auc"] = area_under_curve(probabilities[:, 1], wanted == 1)
        return figures


def classification(
    predictions: Sequence[Any] | np.ndarray, references: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> Scores:
    """accuracy and the averages of precision, recall and F1 over labels: macro (each label alike) and weighted (by its
    examples). With probabilities also log_loss, brier, calibration_error, and auc where there are two labels.

    predictions: a label each, or an array (N, C) of probabilities in the order of `labels`. references: the right label
    each. labels: all that there are, sorted unless told; an average is over those that occur. Micro averages are the
    accuracy. Equal to scikit-learn with zero_division=0.
    """
    probabilities = _probabilities(predictions)
    check_lengths("classification", predictions, references)
    if labels is None and probabilities is not None:
        raise TypeError("classification: probabilities need the labels that their columns stand for")
    known = _distinct([*predictions, *references]) if labels is None else list(labels)
    numbers = _numbers(known)
    wanted = _lookup("classification", references, numbers)
    if probabilities is None:
        return Scores(_columns(_lookup("classification", predictions, numbers), wanted), _figures(known))
    if probabilities.shape[1] != len(known):
        raise TinylmError(f"classification: {probabilities.shape[1]} probabilities a row for {len(known)} labels")
    return Scores(_columns(probabilities.argmax(axis=1), wanted, probabilities), _figures(known))


def confusion_matrix(
    predictions: Sequence[Any] | np.ndarray, references: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> np.ndarray:
    """(C, C) int: how many examples of the row's label were given the column's; labels are sorted unless told."""
    check_lengths("confusion_matrix", predictions, references)
    numbers = _numbers(_distinct([*predictions, *references]) if labels is None else list(labels))
    rows, columns = (_lookup("confusion_matrix", given, numbers) for given in (references, predictions))
    return np.bincount(rows * len(numbers) + columns, minlength=len(numbers) ** 2).reshape(len(numbers), -1)


def label_scores(
    predictions: Sequence[Any] | np.ndarray, references: Sequence[Any] | np.ndarray, labels: Sequence[Any] | None = None
) -> dict[Any, LabelScores]:
    """Precision, recall, F1 and support of each label."""
    known = _distinct([*predictions, *references]) if labels is None else list(labels)
    matrix = confusion_matrix(predictions, references, known)
    support = matrix.sum(axis=1)
    columns = (*_precision_recall_f1(np.diag(matrix), matrix.sum(axis=0), support), support)
    return {label: LabelScores(*row) for label, *row in zip(known, *(c.tolist() for c in columns), strict=True)}


@dataclass(frozen=True)
class _Multilabel:
    """rows: 0 or 1 for each label, predicted and then right."""

    labels: tuple[str, ...]

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        predicted, wanted = np.split(rows, 2, axis=1)
        hits = predicted * wanted
        sums = [table.sum(axis=0) for table in (hits, predicted, wanted)]
        micro = _precision_recall_f1(*(np.array([total.sum()]) for total in sums))
        samples = _precision_recall_f1(*(table.sum(axis=1) for table in (hits, predicted, wanted)))
        return {
            "exact_match": float((predicted == wanted).all(axis=1).mean()),
            "hamming_loss": float((predicted != wanted).mean()),
            **{f"{name}_micro": float(value[0]) for name, value in zip(_NAMES, micro, strict=True)},
            **_averages(*sums),
            "f1_samples": float(samples[2].mean()),
        }


def multilabel(
    predictions: Sequence[Collection[Any]] | np.ndarray,
    references: Sequence[Collection[Any]],
    labels: Sequence[Any],
    *,
    threshold: float = 0.5,
) -> Scores:
    """exact_match of whole sets, hamming_loss, and precision, recall and F1 micro, macro, weighted and by example.

    predictions: the labels of each example, or an array (N, C) of probabilities, of which those above `threshold`
    count. labels: all that there are. Equal to scikit-learn with zero_division=0.
    """
    check_lengths("multilabel", predictions, references)
    numbers = _numbers(list(labels))
    probabilities = _probabilities(predictions)
    if probabilities is not None and probabilities.shape[1] != len(numbers):
        raise TinylmError(f"multilabel: {probabilities.shape[1]} probabilities a row for {len(numbers)} labels")
    predicted = _indicators(predictions, numbers) if probabilities is None else probabilities > threshold
    return Scores(np.hstack([predicted, _indicators(references, numbers)]).astype(float), _Multilabel(_names(labels)))


_NAMES = ("precision", "recall", "f1")


def _precision_recall_f1(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, ...]:
    """Each 0 where there is nothing to divide by."""
    return tuple(
        np.divide(above, below, out=np.zeros(len(hits)), where=below > 0)
        for above, below in ((hits, predicted), (hits, wanted), (2 * hits, predicted + wanted))
    )


def _averages(hits: np.ndarray, predicted: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    averages = {}
    for name, values in zip(_NAMES, _precision_recall_f1(hits, predicted, wanted), strict=True):
        averages[f"{name}_macro"] = float(values.mean())
        averages[f"{name}_weighted"] = float(values @ wanted / wanted.sum()) if wanted.sum() else 0.0
    return averages


def _probabilities(predictions: Any) -> np.ndarray | None:
    """(N, C) float64, or None where labels were given."""
    if not isinstance(predictions, np.ndarray) or predictions.ndim != 2:
        return None
    return predictions.astype(np.float64)


def _figures(labels: Sequence[Any]) -> _Classification:
    return _Classification(_names(labels))


def _names(labels: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(str, labels))


def _columns(predicted: np.ndarray, wanted: np.ndarray, probabilities: np.ndarray | None = None) -> np.ndarray:
    columns = np.stack([predicted, wanted], axis=1).astype(np.float64)
    return columns if probabilities is None else np.hstack([columns, probabilities])


def _distinct(values: Sequence[Any]) -> list[Any]:
    return sorted(set(values))


def _numbers(labels: Sequence[Any]) -> dict[Any, int]:
    numbers = {label: number for number, label in enumerate(labels)}
    if len(numbers) < len(labels):
        raise TinylmError(f"a label is there twice among {', '.join(map(repr, labels))}")
    return numbers


def _lookup(metric: str, values: Sequence[Any] | np.ndarray, numbers: Mapping[Any, int]) -> np.ndarray:
    try:
        return np.array([numbers[value] for value in values], int)
    except KeyError as error:
        shown = ", ".join(map(repr, list(numbers)[:20]))
        raise TinylmError(f"{metric}: the label {error} is none of {shown}") from None


def _indicators(sets: Sequence[Collection[Any]] | np.ndarray, numbers: Mapping[Any, int]) -> np.ndarray:
    table = np.zeros((len(sets), len(numbers)), bool)
    for row, labels in zip(table, sets, strict=True):
        if isinstance(labels, str):
            raise TypeError(f"multilabel: expected a collection of labels an example, received the text {labels!r}")
        row[_lookup("multilabel", list(labels), numbers)] = True
    return table
