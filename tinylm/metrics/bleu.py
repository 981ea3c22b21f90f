"""BLEU: how many of a translation's n-grams a reference has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TinylmError, nearest
from .bleu_tokens import tokenizer
from .scores import Scores, check_lengths, references_of

__all__ = ["bleu"]

# What takes the place of a count of 0; the numbers are sacrebleu's. Source: Chen and Cherry 2014.
SMOOTHING = {"exp": 0.0, "floor": 0.1, "add-k": 1.0, "none": 0.0}


@dataclass(frozen=True)
class _Bleu:
    """rows: tokens of the translation and of the reference; n-grams in common, and all, of each order."""

    order: int
    smoothing: str
    effective_order: bool

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        length, wanted, *counts = rows.sum(axis=0).tolist()
        common, total = counts[: self.order], counts[self.order :]
        brevity = 1.0 if length >= wanted else math.exp(1 - wanted / length) if length else 0.0
        return {
            "bleu": brevity * self._mean_precision(common, total),
            "brevity_penalty": brevity,
        }

    def _mean_precision(self, common: list[float], total: list[float]) -> float:
        """The geometric mean of the precisions of all orders, 0 to 100."""
        if not any(common):
            return 0.0
        precisions = self._precisions(common, total)
        orders = len(precisions) if self.effective_order else self.order
        if len(precisions) < orders or not all(precisions):
            return 0.0
        return math.exp(sum(map(math.log, precisions[:orders])) / orders)

    def _precisions(self, common: list[float], total: list[float]) -> list[float]:
        """Smoothed, in percent, up to the first order that no sentence is long enough for."""
        precisions: list[float] = []
        shrink, value = 1.0, SMOOTHING[self.smoothing]
        for n, (hits, grams) in enumerate(zip(common, total, strict=True)):
            added = value if self.smoothing == "add-k" and n else 0.0
            if grams + added == 0:
                break
            if hits + added == 0:
                shrink *= 2
                hits = {"exp": 1 / shrink, "floor": value}.get(self.smoothing, 0.0)
            precisions.append(100 * (hits + added) / (grams + added))
        return precisions


def bleu(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    tokenize: str = "13a",
    smoothing: str = "exp",
    lowercase: bool = False,
    effective_order: bool = False,
    order: int = 4,
) -> Scores:
    """bleu, 0 to 100, and brevity_penalty, 0 to 1, of a whole set of translations.

    references: one or several a sentence. tokenize: "13a" (Western languages), "zh", "char", "intl" or "none" (by
    spaces). smoothing: "exp", "floor", "add-k" or "none". effective_order: orders that no sentence is long enough for
    do not count, as for single sentences. Equal to sacrebleu. Source: Papineni et al. 2002, "BLEU"; Post 2018,
    arXiv:1804.08771.
    """
    check_lengths("bleu", predictions, references)
    if smoothing not in SMOOTHING:
        raise TinylmError(f"bleu: unknown smoothing {smoothing!r}{nearest(smoothing, SMOOTHING)}")
    split = tokenizer(tokenize)

    def grams(text: str) -> tuple[Counter[tuple[str, ...]], int]:
        tokens = split((text.lower() if lowercase else text).rstrip())
        parts = (zip(*(tokens[start:] for start in range(n)), strict=False) for n in range(1, order + 1))
        return Counter(gram for part in parts for gram in part), len(tokens)

    rows = np.zeros((len(predictions), 2 + 2 * order))
    for row, prediction, given in zip(rows, predictions, references, strict=True):
        found, length = grams(prediction)
        wanted = [grams(reference) for reference in references_of(given)]
        if not wanted:
            raise TinylmError("bleu: a translation without references")
        most: Counter[tuple[str, ...]] = Counter()
        for counts, _ in wanted:
            most |= counts
        row[0] = length
        row[1] = min((abs(length - other), other) for _, other in wanted)[1]
        for gram, count in found.items():
            row[1 + len(gram)] += min(count, most[gram])
            row[1 + order + len(gram)] += count
    return Scores(rows, _Bleu(order, smoothing, effective_order))
