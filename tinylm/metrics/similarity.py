"""Whether numbers grow together, and whether a search finds what belongs together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import TinylmError
from .probabilities import average_ranks
from .scores import Scores, check_lengths

__all__ = ["correlation", "retrieval"]


@dataclass(frozen=True)
class _Correlation:
    """rows: the number predicted, and the right one."""

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        x, y = rows.T
        return {"pearson": _pearson(x, y), "spearman": _pearson(average_ranks(x), average_ranks(y))}


def correlation(predictions: Sequence[float] | np.ndarray, references: Sequence[float] | np.ndarray) -> Scores:
    """pearson and spearman, -1 to 1: along a line, and in rank. nan where either side is all the same.

    Equal to scipy. Source: Spearman 1904, "The proof and measurement of association between two things".
    """
    check_lengths("correlation", predictions, references)
    return Scores(np.stack([predictions, references], axis=1).astype(np.float64), _Correlation())


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / lengths, -1, 1)) if lengths else float("nan")


@dataclass(frozen=True)
class _Retrieval:
    """rows: the reciprocal rank of the first that is right, and for each k the share of the right ones found."""

    ks: tuple[int, ...]

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        means = rows.mean(axis=0).tolist()
        return {"mrr": means[0]} | {f"recall@{k}": mean for k, mean in zip(self.ks, means[1:], strict=True)}


def retrieval(
    similarities: np.ndarray, references: Sequence[int | Collection[int]], *, ks: Sequence[int] = (1, 5, 10)
) -> Scores:
    """recall@k, the share of the right documents among the k most similar, and mrr, the mean reciprocal rank of the
    first right one; 0 to 1.

    similarities: (N, M), of N queries to M documents. references: the number of the right document a query, or several.
    Documents as similar as a right one come before it: where a model finds everything alike it has found nothing.
    Source: Voorhees 1999, "The TREC-8 question answering track report" (mrr).
    """
    check_lengths("retrieval", similarities, references)
    rows = np.empty((len(references), 1 + len(ks)))
    for row, similar, given in zip(rows, similarities, references, strict=True):
        right = np.array([given] if isinstance(given, int | np.integer) else sorted(given), int)
        if not len(right) or right.min() < 0 or right.max() >= len(similar):
            raise TinylmError(f"retrieval: expected numbers of {len(similar)} documents, received {given!r:.60}")
        wrong = np.sort(np.delete(similar, right))
        ahead = len(wrong) - np.searchsorted(wrong, similar[right], "left")  # wrong ones at least as similar
        ranks = np.sort(ahead) + np.arange(1, len(right) + 1)
        row[:] = [1 / ranks[0], *((ranks <= k).mean() for k in ks)]
    return Scores(rows, _Retrieval(tuple(ks)))
