"""ROUGE: how much of a reference's words and their order a summary has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ..errors import TinylmError
from .scores import Scores, check_lengths, references_of
from .stemming import stem

__all__ = ["ROUGE", "english_words", "rouge", "stemmed_words", "unicode_words"]

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")

Words = Callable[[str], list[str]]
Triple = tuple[float, float, float]  # precision, recall, F

_NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces
_UNICODE_WORD = regex.compile(rf"[{_NO_SPACES}]\p{{M}}*|[^\W_{_NO_SPACES}]+", regex.VERSION0)


def english_words(text: str) -> list[str]:
    """Runs of a-z and 0-9 in the lower-cased text, as rouge-score takes them: other scripts give nothing."""
    return re.findall(r"[a-z0-9]+", text.lower())


def stemmed_words(text: str) -> list[str]:
    """The same, those of more than three characters stemmed: rouge-score's `use_stemmer`."""
    return [stem(word) if len(word) > 3 else word for word in english_words(text)]


def unicode_words(text: str) -> list[str]:
    """Words of any script, lower-cased; in scripts that put no spaces between words each character is one."""
    return _UNICODE_WORD.findall(text.lower())


@dataclass(frozen=True)
class _Rouge:
    """rows: precision, recall and F of each kind, side by side."""

    kinds: tuple[str, ...]
    words: Words

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        return {kind: float(rows[:, 3 * at + 2].mean()) for at, kind in enumerate(self.kinds)}


def rouge(
    predictions: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    words: Words = english_words,
    kinds: Sequence[str] = ROUGE,
) -> Scores:
    """The mean F-measures, 0 to 1: rouge1 and rouge2 of n-grams, rougeL of the longest common subsequence, rougeLsum
    of its union over lines.

    references: one or several a prediction, of which the best counts. words: how a text is split: `english_words`,
    `stemmed_words`, `unicode_words` for other scripts, or any function. kinds: any of the names above, "rouge3" and so
    on. A row holds precision, recall and F of each kind. Equal to rouge-score. Source: Lin 2004, "ROUGE: a package for
    automatic evaluation of summaries".
    """
    check_lengths("rouge", predictions, references)
    several = [references_of(given) for given in references]
    _check_words(several, words)
    rows = np.empty((len(predictions), 3 * len(kinds)))
    for row, prediction, targets in zip(rows, predictions, several, strict=True):
        row[:] = np.concatenate([_best(kind, prediction, targets, words) for kind in kinds])
    return Scores(rows, _Rouge(tuple(kinds), words))


def _check_words(references: Iterable[list[str]], words: Words) -> None:
    texts = [text for several in references for text in several]
    if any(any(c.isalpha() for c in text) for text in texts) and not any(words(text) for text in texts):
        raise TinylmError(
            "rouge: no reference holds a word of a-z or 0-9; for other scripts split the texts with words=unicode_words"
        )


def _best(kind: str, prediction: str, targets: Sequence[str], words: Words) -> Triple:
    if not targets:
        raise TinylmError("rouge: a prediction without references")
    return max((_score(kind, prediction, target, words) for target in targets), key=lambda triple: triple[2])


def _score(kind: str, prediction: str, target: str, words: Words) -> Triple:
    if kind == "rougeLsum":
        return _summary_level(*([words(line) for line in text.split("\n")] for text in (prediction, target)))
    predicted, wanted = words(prediction), words(target)
    if kind == "rougeL":
        common = len(_common_places(wanted, predicted))
        return _triple(common, len(predicted), len(wanted))
    if not re.fullmatch(r"rouge[1-9]", kind):
        raise TinylmError(f"rouge: unknown kind {kind!r}; there are {', '.join(ROUGE)} and rouge3 to rouge9")
    grams, targets = _grams(predicted, int(kind[5:])), _grams(wanted, int(kind[5:]))
    return _triple((grams & targets).total(), grams.total(), targets.total())


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _triple(common: int, predicted: int, wanted: int) -> Triple:
    precision, recall = common / max(predicted, 1), common / max(wanted, 1)
    f = 2 * precision * recall / (precision + recall) if common else 0.0
    return precision, recall, f


def _common_places(wanted: Sequence[str], predicted: Sequence[str]) -> list[int]:
    """Where in `wanted` the words of one longest common subsequence stand, from the last to the first.

    The table is filled row by row: lengths[i, j] is that of the first i and j words.
    """
    numbers = {word: number for number, word in enumerate(dict.fromkeys([*wanted, *predicted]))}
    row = np.array([numbers[word] for word in predicted], int)
    lengths = np.zeros((len(wanted) + 1, len(predicted) + 1), np.int32)
    for i, word in enumerate(wanted, 1):
        longer = lengths[i - 1, :-1] + (row == numbers[word])
        lengths[i, 1:] = np.maximum.accumulate(np.maximum(lengths[i - 1, 1:], longer))
    i, j, places = len(wanted), len(predicted), []
    while i and j:  # of several subsequences, the one that rouge-score finds: it matters to the union over lines
        if wanted[i - 1] == predicted[j - 1]:
            i, j = i - 1, j - 1
            places.append(i)
        elif lengths[i, j - 1] > lengths[i - 1, j]:
            j -= 1
        else:
            i -= 1
    return places


def _summary_level(predicted: list[list[str]], wanted: list[list[str]]) -> Triple:
    """Each line of the reference counts the words that it has in common with any line; no word counts twice."""
    left = [Counter(word for line in lines for word in line) for lines in (predicted, wanted)]
    sizes = [counts.total() for counts in left]
    hits = 0
    for target in wanted:
        places = set().union(*(_common_places(target, line) for line in predicted))
        for word in (target[place] for place in places):
            if all(counts[word] > 0 for counts in left):
                hits += 1
                for counts in left:
                    counts[word] -= 1
    return _triple(hits, *sizes)
