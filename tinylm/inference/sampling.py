"""Choosing the next token from the logits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["Sampler", "probabilities"]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """softmax in float64, along the last axis: exact enough that the choice does not depend on rounding."""
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@dataclass
class Sampler:
    """Draws a token from logits (V,).

    temperature: divides the logits; 0 takes the most likely token. top_k: only the k most likely may be drawn.
    top_p: only the smallest set of most likely tokens whose probabilities reach p (Holtzman et al. 2020,
    arXiv:1904.09751). seed: the same seed draws the same tokens. The limits are applied in this order.
    Raises TinylmError for values outside their range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise TinylmError(f"temperature is {self.temperature}, expected 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise TinylmError(f"top_k is {self.top_k}, expected at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise TinylmError(f"top_p is {self.top_p}, expected 0 < p <= 1")
        if self.seed is not None and self.seed < 0:
            raise TinylmError(f"seed is {self.seed}, expected 0 or more")
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, logits: np.ndarray) -> int:
        if self.temperature == 0:
            return int(np.argmax(logits))
        p = self.distribution(logits)
        return int(np.searchsorted(np.cumsum(p), self._rng.random() * p.sum(), side="right").clip(max=len(p) - 1))

    def distribution(self, logits: np.ndarray) -> np.ndarray:
        """The probabilities (V,) that the sampler draws from, after temperature and limits."""
        scaled = np.asarray(logits, np.float64) / self.temperature
        if self.top_k is not None and self.top_k < len(scaled):
            scaled = np.where(_is_among_the_best(scaled, self.top_k), scaled, -np.inf)
        p = probabilities(scaled)
        if self.top_p is not None:
            order = np.argsort(-p, kind="stable")
            needed = int(np.searchsorted(np.cumsum(p[order]), self.top_p)) + 1
            kept = np.zeros_like(p)
            kept[order[:needed]] = p[order[:needed]]
            p = kept / kept.sum()
        return p


def _is_among_the_best(values: np.ndarray, count: int) -> np.ndarray:
    """True for exactly `count` values; of equal ones the first."""
    best = np.zeros(len(values), bool)
    best[np.argsort(-values, kind="stable")[:count]] = True
    return best
