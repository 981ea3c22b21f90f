"""SQuAD's measures: whether an answer is right, and how many of its words are."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ..errors import TinylmError
from .scores import Scores, check_lengths, references_of

__all__ = ["answers", "best_no_answer_threshold", "normalize_answer"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Scripts without spaces: each character is a word, as CMRC 2018 and others count them. SQuAD's own texts have none.
_CHARACTER = regex.compile(r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}])")


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, words apart by one space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@dataclass(frozen=True)
class _Answers:
    """rows: exact match, F1, and 1 where the question has an answer."""

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        figures = self._means("", rows)
        has = rows[:, 2] == 1
        if has.any() and not has.all():
            figures |= self._means("has_answer_", rows[has]) | self._means("no_answer_", rows[~has])
        return figures

    def _means(self, prefix: str, rows: np.ndarray) -> dict[str, float]:
        exact, f1 = (100 * rows[:, :2].mean(axis=0)).tolist()
        return {f"{prefix}exact_match": exact, f"{prefix}f1": f1}


def answers(
    predictions: Sequence[str], references: Sequence[str | Sequence[str]], *, characters: bool = False
) -> Scores:
    """exact_match and f1, 0 to 100, after SQuAD's normalisation; the best of several right answers counts.

    references: an empty sequence is a question without an answer, to which "" is the right prediction (SQuAD 2.0);
    beside others, the figures of each kind come as well: has_answer_f1, no_answer_f1 and so on. characters: of scripts
    that put no spaces between words each character is a word of F1. Equal to the official scripts. Source: Rajpurkar
    et al. 2016, arXiv:1606.05250, and 2018, arXiv:1806.03822.
    """
    check_lengths("answers", predictions, references)
    rows = np.empty((len(predictions), 3))
    for row, prediction, given in zip(rows, predictions, references, strict=True):
        wanted = [text for text in map(normalize_answer, references_of(given)) if text]
        found = normalize_answer(prediction)
        targets = wanted or [""]
        row[:] = found in targets, max(_f1(found, text, characters) for text in targets), bool(wanted)
    return Scores(rows, _Answers())


def _f1(found: str, wanted: str, characters: bool) -> float:
    a, b = (Counter((_CHARACTER.sub(r" \1 ", text) if characters else text).split()) for text in (found, wanted))
    if not a or not b:
        return float(a == b)
    common = (a & b).total()
    if not common:
        return 0.0
    precision, recall = common / a.total(), common / b.total()
    return 2 * precision * recall / (precision + recall)


def best_no_answer_threshold(
    scores: Scores, no_answer: Sequence[float] | np.ndarray, answered: Sequence[bool] | np.ndarray, figure: str = "f1"
) -> tuple[float, float]:
    """The best figure, 0 to 100, that any threshold gives, and the threshold: a question whose `no_answer` is above it
    is held to have no answer.

    no_answer: (N,), how sure the model is that there is none; answered: (N,), whether its text is not empty. The
    threshold is chosen on these very questions, so that the figure is a little too good. As the script of SQuAD 2.0.
    """
    columns = {"exact_match": 0, "f1": 1}
    if figure not in columns or not len(scores) == len(no_answer) == len(answered):
        raise TinylmError(
            f"best_no_answer_threshold: expected exact_match or f1 and a number for each of {len(scores)} questions, "
            f"received {figure!r}, {len(no_answer)} and {len(answered)}"
        )
    has = scores.rows[:, 2] == 1
    order = np.argsort(no_answer, kind="stable")
    gains = np.where(has, scores.rows[:, columns[figure]], -np.asarray(answered, float))[order]
    totals = np.concatenate([[0], np.cumsum(gains)]) + int((~has).sum())  # with the first n questions answered
    best = int(totals.argmax())
    return 100 * float(totals[best]) / len(scores), float(np.asarray(no_answer)[order[best - 1]]) if best else 0.0
