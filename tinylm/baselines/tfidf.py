"""TF-IDF: texts as vectors, in which rare features count more than frequent ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["TfIdf"]

Features = Callable[[str], list[str]]


class TfIdf:
    """A text's vector: its count of each feature times ln((1 + N) / (1 + n)) + 1, scaled to length 1.

    texts: N texts, of which n have a feature; features: of a text. Equal to scikit-learn's TfidfVectorizer. Source:
    Spärck Jones 1972, "A statistical interpretation of term specificity".
    """

    def __init__(self, texts: Sequence[str], features: Features):
        self.features = features
        self.having = Counter(feature for text in texts for feature in set(features(text)))
        self.count = len(texts)

    def idf(self, feature: str) -> float:
        """The weight of a feature; of one that no text has, the largest."""
        return float(np.log((1 + self.count) / (1 + self.having[feature]))) + 1

    def vector(self, text: str) -> dict[str, float]:
        """The features that are known with their weights."""
        counts = Counter(feature for feature in self.features(text) if feature in self.having)
        weights = {feature: count * self.idf(feature) for feature, count in counts.items()}
        length = np.sqrt(sum(weight**2 for weight in weights.values()))
        return {feature: weight / length for feature, weight in weights.items()}

    def similarity(self, a: str, b: str) -> float:
        """The cosine of two texts, 0 to 1."""
        one, other = self.vector(a), self.vector(b)
        return sum(weight * other.get(feature, 0.0) for feature, weight in one.items())
