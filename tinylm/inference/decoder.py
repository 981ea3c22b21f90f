"""What generation asks of a model: a Module that predicts the next token has it, and the decode engine."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

__all__ = ["Decoder"]


class Decoder(Protocol):
    """Predicts each token from those before it."""

    @property
    def config(self) -> Any:
        """The model's settings."""

    @property
    def context(self) -> int | None:
        """How many tokens it can look at; None where there is no limit."""

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end a text."""

    def new_cache(self, batch: int) -> Any:
        """An empty cache for `batch` rows; `keep(length)` takes it back, and says whether it can."""

    def last_logits(self, ids: np.ndarray, cache: Any = None, count: int = 1) -> np.ndarray:
        """The logits (B, count, V) after each of the last `count` of ids (B, T), which follow those in the cache."""
