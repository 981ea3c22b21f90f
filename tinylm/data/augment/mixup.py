"""Mixup: examples between two examples, in the space of embeddings or hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import TinylmError
from .change import random_of

__all__ = ["Mixup", "draw_mixup"]


@dataclass(frozen=True)
class Mixup:
    """How the rows of a batch are mixed: row b becomes w[b] x[b] + (1 - w[b]) x[partner[b]].

    partner: (B,) int, a permutation; weight: (B,) float, at least a half, so that a row is mostly itself.
    """

    partner: np.ndarray
    weight: np.ndarray

    def mix(self, x: Any) -> Any:
        """The mixture of an array or Tensor (B, ...), such as embeddings (B, T, C) before the first layer."""
        weight = self.weight.reshape(-1, *[1] * (len(x.shape) - 1)).astype(x.dtype)
        return x * weight + x[self.partner] * (1 - weight)

    def targets(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """(B, classes): the weights of the two labels of each row, from labels (B,) int, for a loss of soft targets.

        The same as w loss(labels) + (1 - w) loss(labels[partner]) with a cross-entropy for each row.
        """
        return self.mix(np.eye(classes)[labels])


def draw_mixup(rows: int, *, alpha: float = 0.2, seed: int, step: int, first_row: int = 0) -> Mixup:
    """Partners and weights for rows of a batch: a function of the seed, the step and the first of them.

    alpha: of the Beta distribution of the weights; the smaller, the nearer a row stays to itself. rows: those that are
    in memory together, since a partner is one of them. Source: Zhang et al. 2018, arXiv:1710.09412; for text Guo et
    al. 2019, arXiv:1905.08941.
    """
    if rows < 1 or not alpha > 0:
        raise TinylmError(f"draw_mixup: expected rows and a positive alpha, received {rows} and {alpha}")
    random = random_of(seed, step, first_row)
    weight = random.beta(alpha, alpha, rows)
    return Mixup(random.permutation(rows), np.maximum(weight, 1 - weight))
