"""chrF: how many of the character n-grams a translation and its reference have in common."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TinylmError
from .scores import Scores, check_lengths, references_of

__all__ = ["chrf"]


@dataclass(frozen=True)
class _Chrf:
    """rows: for each order, n-grams of the translation, of the reference, and in common."""

    word_order: int
    beta: float

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        return {"chrf" + "+" * self.word_order: self.score(rows.sum(axis=0))}

    def score(self, row: np.ndarray) -> float:
        """F of the mean precision and recall over the orders that both sides are long enough for, 0 to 100."""
        predicted, wanted, common = row.reshape(-1, 3).T.tolist()
        precision = recall = orders = 0.0
        for of_prediction, of_reference, both in zip(predicted, wanted, common, strict=True):
            if of_prediction and of_reference:
                precision += both / of_prediction
                recall += both / of_reference
                orders += 1
        if not precision + recall:
            return 0.0
        precision, recall = precision / orders, recall / orders
        return 100 * ((1 + self.beta**2) * precision * recall / (self.beta**2 * precision + recall))


def chrf(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    word_order: int = 0,
    char_order: int = 6,
    beta: float = 2,
    lowercase: bool = False,
) -> Scores:
    """chrf, or with word_order=2 "chrf++", 0 to 100, of a whole set of translations; white space is not looked at.

    references: one or several a sentence, of which the best counts. beta: how many times recall weighs as much as
    precision. Equal to sacrebleu. Source: Popović 2015, "chrF: character n-gram F-score"; 2017, "chrF++".
    """
    check_lengths("chrf", predictions, references)

    def grams(text: str) -> list[Counter[str]]:
        text = text.lower() if lowercase else text
        characters, words = "".join(text.split()), _words(text)
        return [_grams(characters, n, "") for n in range(1, char_order + 1)] + [
            _grams(words, n, " ") for n in range(1, word_order + 1)
        ]

    figures = _Chrf(word_order, beta)
    rows = np.zeros((len(predictions), 3 * (char_order + word_order)))
    for row, prediction, given in zip(rows, predictions, references, strict=True):
        found = grams(prediction)
        several = [_statistics(found, grams(reference)) for reference in references_of(given)]
        if not several:
            raise TinylmError("chrf: a translation without references")
        row[:] = max(several, key=figures.score)
    return Scores(rows, figures)


def _statistics(found: list[Counter[str]], wanted: list[Counter[str]]) -> np.ndarray:
    # An order that the reference is too short for does not count against the translation.
    return np.array(
        [[a.total() if b else 0, b.total(), (a & b).total()] for a, b in zip(found, wanted, strict=True)], float
    ).reshape(-1)


def _grams(parts: str | list[str], n: int, joint: str) -> Counter[str]:
    return Counter(joint.join(parts[start : start + n]) for start in range(len(parts) - n + 1))


def _words(text: str) -> list[str]:
    """Words, and the punctuation mark at the end of one, or else at its beginning, by itself."""
    words: list[str] = []
    for word in text.split():
        cut = len(word) - 1 if word[-1] in string.punctuation else 1 if word[0] in string.punctuation else 0
        words += [part for part in (word[:cut], word[cut:]) if part]
    return words
