"""What shares most words: a search by TF-IDF, and a translation memory on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import TinylmError
from .tfidf import Features, TfIdf

__all__ = ["Match", "TfIdfSearch", "TranslationMemory", "character_grams"]


def character_grams(text: str) -> list[str]:
    """Runs of one to three characters of the lower-cased text: they see inside words, in any script."""
    text = f" {' '.join(text.lower().split())} "
    return [text[start : start + n] for n in (1, 2, 3) for start in range(len(text) - n + 1)]


class Match(NamedTuple):
    """The number of a source that is known, and its similarity, 0 to 1: the cosine of TF-IDF."""

    number: int
    similarity: float


class TfIdfSearch:
    """Finds the texts that have most in common with a query by TF-IDF. features: of a text, by which it is compared."""

    def __init__(self, texts: Sequence[str], features: Features):
        self.count = len(texts)
        self._tfidf = TfIdf(texts, features)
        postings: dict[str, tuple[list[int], list[float]]] = {}  # the texts that have a feature, and its weights
        for number, text in enumerate(texts):
            for feature, weight in self._tfidf.vector(text).items():
                numbers, weights = postings.setdefault(feature, ([], []))
                numbers.append(number)
                weights.append(weight)
        self._postings = {name: (np.array(numbers), np.array(weights)) for name, (numbers, weights) in postings.items()}

    def similarities(self, query: str) -> np.ndarray:
        """(texts,) float64, the cosine of a query with each text, 0 to 1."""
        found = np.zeros(self.count)
        for feature, weight in self._tfidf.vector(query).items():
            numbers, weights = self._postings[feature]
            found[numbers] += weight * weights
        return found


class TranslationMemory:
    """Answers with the target of the source that is nearest by TF-IDF; of several, of the first.

    sources, targets: N texts and what belongs to them. features: of a text, by which sources are compared.
    """

    def __init__(self, sources: Sequence[str], targets: Sequence[str], features: Features = character_grams):
        if not len(sources) or len(sources) != len(targets):
            raise TinylmError(f"a memory takes sources and a target each, received {len(sources)} and {len(targets)}")
        self.targets = list(targets)
        self._search = TfIdfSearch(sources, features)

    def nearest(self, source: str, *, besides: int | None = None) -> Match:
        """The most similar source; `besides` is the number of one that does not count, such as the text itself."""
        scores = self._search.similarities(source)
        if besides is not None:
            scores[besides] = 0
        best = int(scores.argmax())
        return Match(best, float(scores[best]))

    def translate(self, sources: Sequence[str]) -> list[str]:
        """The target of each text's nearest source."""
        return [self.targets[self.nearest(source).number] for source in sources]
