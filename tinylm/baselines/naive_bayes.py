"""Naive Bayes: classes from counts of words alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import TinylmError

__all__ = ["BernoulliNaiveBayes", "MultinomialNaiveBayes", "count_words"]

Words = Callable[[str], list[str]]
Bag = tuple[np.ndarray, np.ndarray]  # numbers of the distinct words of a text, and how often each stands there


def count_words(text: str) -> list[str]:
    """Words of two characters or more, lower-cased, as scikit-learn's CountVectorizer takes them."""
    return re.findall(r"\b\w\w+\b", text.lower())


class _NaiveBayes:
    """log p(label | text) = log p(label) + sum over words of log p(word | label) + const.

    words: how a text is split; `tinylm.metrics.unicode_words` for scripts without spaces. alpha: added to every count,
    so that a word not seen with a label does not rule it out. Words that no text of `fit` has are not looked at.
    Equal to scikit-learn's on counts of the same words.
    """

    def __init__(self, *, alpha: float = 1.0, words: Words = count_words):
        if not alpha > 0:
            raise TinylmError(f"naive Bayes takes a positive alpha, received {alpha}")
        self.alpha, self.words = alpha, words

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Count the words of each label. Raises TinylmError where there are no texts, or not as many labels."""
        if not len(texts) or len(texts) != len(labels):
            raise TinylmError(f"naive Bayes takes texts and a label each, received {len(texts)} and {len(labels)}")
        self.labels = sorted(set(labels))
        number = {label: at for at, label in enumerate(self.labels)}
        found = [Counter(self.words(text)) for text in texts]
        self.vocabulary = {word: at for at, word in enumerate(dict.fromkeys(word for words in found for word in words))}
        counts = np.zeros((len(self.labels), len(self.vocabulary)))
        for words, label in zip(found, labels, strict=True):
            ids, often = self._bag(words)
            counts[number[label], ids] += self._occurrences(often)
        sizes = np.array([list(labels).count(label) for label in self.labels])
        self._priors = np.log(sizes / sizes.sum())
        self._learn(counts, sizes)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(N, C) float64, in the order of `labels`."""
        scores = np.array([self._priors + self._evidence(self._bag(Counter(self.words(text)))) for text in texts])
        scores -= scores.max(axis=1, keepdims=True)
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    def classify(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text."""
        return [self.labels[at] for at in self.probabilities(texts).argmax(axis=1)]

    def _bag(self, words: Counter[str]) -> Bag:
        known = [(self.vocabulary[word], count) for word, count in words.items() if word in self.vocabulary]
        ids, counts = np.array(known, int).reshape(-1, 2).T
        return ids, counts

    def _occurrences(self, often: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _learn(self, counts: np.ndarray, sizes: np.ndarray) -> None:
        raise NotImplementedError

    def _evidence(self, bag: Bag) -> np.ndarray:
        raise NotImplementedError


class MultinomialNaiveBayes(_NaiveBayes):
    """Naive Bayes of how often each word stands in a text.

    Source: McCallum and Nigam 1998, "A comparison of event models for naive Bayes text classification".
    """

    def _occurrences(self, often: np.ndarray) -> np.ndarray:
        return often

    def _learn(self, counts: np.ndarray, sizes: np.ndarray) -> None:
        counts = counts + self.alpha
        self._log_p = np.log(counts / counts.sum(axis=1, keepdims=True))

    def _evidence(self, bag: Bag) -> np.ndarray:
        ids, often = bag
        return self._log_p[:, ids] @ often


class BernoulliNaiveBayes(_NaiveBayes):
    """Naive Bayes of which words stand in a text and which do not. Source: as above."""

    def _occurrences(self, often: np.ndarray) -> np.ndarray:
        return np.ones_like(often)

    def _learn(self, counts: np.ndarray, sizes: np.ndarray) -> None:
        p = (counts + self.alpha) / (sizes[:, None] + 2 * self.alpha)
        self._odds = np.log(p) - np.log1p(-p)
        self._none = np.log1p(-p).sum(axis=1)  # of a text without any word

    def _evidence(self, bag: Bag) -> np.ndarray:
        return self._none + self._odds[:, bag[0]].sum(axis=1)
