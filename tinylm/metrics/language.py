"""The metrics of language modelling."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .scores import Scores

__all__ = ["LanguageMetrics", "language"]


@dataclass
class LanguageMetrics:
    """Sums over batches of predicted tokens, from which the usual figures follow.

    nats: the sum of the losses; tokens: how many were predicted; correct: how many of them were the most likely.
    """

    nats: float = 0.0
    tokens: int = 0
    correct: int = 0

    def add(self, losses: np.ndarray, correct: np.ndarray, counted: np.ndarray) -> None:
        """Add a batch: losses in nats, whether each prediction was right, and whether it counts; all of one shape."""
        self.nats += float(losses[counted].sum(dtype=np.float64))
        self.correct += int(correct[counted].sum())
        self.tokens += int(counted.sum())

    def __add__(self, other: LanguageMetrics) -> LanguageMetrics:
        """Those of both together."""
        return LanguageMetrics(self.nats + other.nats, self.tokens + other.tokens, self.correct + other.correct)

    def result(self, n_bytes: float | None = None) -> dict[str, float]:
        """loss (nats a token), perplexity = e^loss, bits_per_token, accuracy, and bits_per_byte.

        n_bytes: of UTF-8 text that the predicted tokens stand for; it makes models with different tokenizers
        comparable.
        """
        loss = self.nats / max(self.tokens, 1)
        result = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),  # e^709 is the largest float64
            "bits_per_token": loss / math.log(2),
            "accuracy": self.correct / max(self.tokens, 1),
        }
        if n_bytes:
            result["bits_per_byte"] = self.nats / math.log(2) / n_bytes
        return result


@dataclass(frozen=True)
class _Language:
    """rows: the sum of the losses in nats, the tokens that count, those predicted right, and their UTF-8 bytes."""

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        nats, tokens, correct, n_bytes = rows.sum(axis=0).tolist()
        return LanguageMetrics(nats, int(tokens), int(correct)).result(n_bytes)


def language(losses: np.ndarray, correct: np.ndarray, counted: np.ndarray, n_bytes: np.ndarray) -> Scores:
    """loss, perplexity, bits_per_token, accuracy and bits_per_byte; a row for each window of tokens.

    All (B, T): losses in nats, whether each token was predicted right, whether it counts, and the bytes it stands for.
    """
    columns = (losses.astype(np.float64), counted, correct & counted, n_bytes)
    return Scores(np.stack([np.where(counted, column, 0).sum(axis=1) for column in columns], axis=1), _Language())
