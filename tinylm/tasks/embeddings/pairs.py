"""Pairs of texts by number, which of them belong together, and how well vectors find that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np

from tinylm.metrics import Scores, correlation, retrieval

__all__ = ["Pairs", "pair_scores"]

QUERIES = 256  # whose similarities to all documents are held at once


@dataclass(frozen=True)
class Pairs:
    """N pairs of texts. texts: each different one, whose place is its number.

    anchors, positives: (N,), the numbers of two texts that belong together, or that a score says how much they do;
    negatives: for each pair texts that do not belong to its anchor; scores: (N,) or None.
    """

    texts: Sequence[str]
    anchors: np.ndarray
    positives: np.ndarray
    negatives: Sequence[np.ndarray]
    scores: np.ndarray | None = None

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> Pairs:
        """Those of records: an anchor, a positive, perhaps negatives or a score. An anchor alone belongs to itself."""
        numbers: dict[str, int] = {}

        def number(text: str) -> int:
            return numbers.setdefault(text, len(numbers))

        anchors, positives, negatives, scores = [], [], [], []
        for record in records:
            anchors.append(number(record["anchor"]))
            positives.append(number(record.get("positive", record["anchor"])))
            negatives.append(np.array([number(text) for text in record.get("negatives", ())], np.int64))
            if "score" in record:
                scores.append(record["score"])
        both = np.array(anchors, np.int64), np.array(positives, np.int64)
        return cls(list(numbers), *both, negatives, np.array(scores) if scores else None)

    def __len__(self) -> int:
        return len(self.anchors)

    def documents(self, chosen: np.ndarray) -> np.ndarray:
        """The positives of the chosen pairs, in order, and then the negatives of all of them."""
        return np.concatenate([self.positives[chosen], *(self.negatives[pair] for pair in chosen.tolist())])

    @cached_property
    def _known(self) -> np.ndarray:
        """A number for each two texts that belong together, in both orders, sorted."""
        forth = self.anchors * len(self.texts) + self.positives
        back = self.positives * len(self.texts) + self.anchors
        return np.unique(np.concatenate([forth, back]))

    def sides(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """B chosen pairs: the anchors (B,), the documents (M,), false (B, M), the scores (B,) or None.

        false: whether a document that is not the anchor's own belongs to it nevertheless.
        """
        anchors, documents = self.anchors[chosen], self.documents(chosen)
        false = self.belong(anchors, documents)
        np.fill_diagonal(false, False)
        return anchors, documents, false, None if self.scores is None else self.scores[chosen]

    def belong(self, anchors: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """(B, M): whether a document is the anchor's own text, or belongs to it in any of the pairs."""
        keys = anchors[:, None] * len(self.texts) + documents
        nearest = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        return (self._known[nearest] == keys) | (anchors[:, None] == documents)


def pair_scores(pairs: Pairs, vectors: np.ndarray) -> Scores:
    """How well vectors (texts, C) of length 1 say what belongs together.

    With scores, the correlation of cosines with them: an example is a pair. Else recall@k and mrr of a search: an
    example is an anchor, which searches all that belongs to any anchor, and the negatives, but not its own text.
    """
    if pairs.scores is not None:
        return correlation((vectors[pairs.anchors] * vectors[pairs.positives]).sum(axis=-1), pairs.scores)
    queries = np.unique(pairs.anchors)
    documents = np.unique(pairs.documents(np.arange(len(pairs))))
    places = np.searchsorted(documents, pairs.positives)
    order = np.argsort(pairs.anchors, kind="stable")
    right = np.split(places[order], np.flatnonzero(np.diff(pairs.anchors[order])) + 1)
    parts = []
    for first in range(0, len(queries), QUERIES):
        asked = queries[first : first + QUERIES]
        similarities = vectors[asked] @ vectors[documents].T
        similarities[asked[:, None] == documents] = -np.inf
        parts.append(retrieval(similarities, [set(found.tolist()) for found in right[first : first + QUERIES]]))
    return reduce(add, parts)
