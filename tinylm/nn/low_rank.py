"""LoRA: what a frozen linear layer learns, as the product of two thin matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .dropout import Dropout
from .initializer import Initializer
from .module import Module

__all__ = ["LowRank", "LowRankParts"]


class LowRank(Module):
    """y + s drop(x) A^T B^T: x (..., I), y (..., O), A (r, I), B (O, r).

    A starts uniform in +-1/sqrt(I), B at 0, so that nothing changes at first. scale: s.
    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1; A's range is PEFT's.
    """

    def __init__(
        self, inputs: int, outputs: int, rank: int, init: Initializer, *, scale: float, dropout: float, site: int
    ):
        self.a = init.uniform(rank, inputs, bound=1 / math.sqrt(inputs))
        self.b = init.zeros(outputs, rank)
        self.scale = scale
        self.dropout = Dropout(dropout, site)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return F.linear(F.linear(self.dropout(x), self.a) * self.scale, self.b, None, y)

    def change(self) -> np.ndarray:
        """s B A, (O, I): what it adds to the weight."""
        return (self.b.data * self.scale) @ self.a.data


class LowRankParts(Module):
    """A `LowRank` for each of the projections of a `FusedLinear`, or None: x (..., I), y (..., the sum of widths)."""

    def __init__(self, parts: Sequence[LowRank | None], widths: Sequence[int]):
        self.parts, self.widths = list(parts), tuple(widths)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        changes = [
            Tensor(np.zeros((*x.shape[:-1], width), x.dtype)) if part is None else part(x)
            for part, width in zip(self.parts, self.widths, strict=True)
        ]
        return y + F.concatenate(changes, axis=-1)

    def change(self) -> np.ndarray:
        """What it adds to the weight, (the sum of widths, I)."""
        inputs = next(part.a.shape[1] for part in self.parts if part is not None)
        return np.concatenate(
            [
                np.zeros((width, inputs), np.float32) if part is None else part.change()
                for part, width in zip(self.parts, self.widths, strict=True)
            ]
        )
