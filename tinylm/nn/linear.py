"""The linear layer, and several of them as one."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .low_rank import LowRank, LowRankParts
from .module import Module

__all__ = ["FusedLinear", "Linear"]


class Linear(Module):
    """y = x W^T + b, and + residual where one is given: (..., I) to (..., O).

    std: of the Gaussian the weight (O, I) is drawn from; the bias (O,) starts at 0. low_rank: what is added to y,
    where the layer is frozen and learns by LoRA.
    """

    low_rank: LowRank | LowRankParts | None = None

    def __init__(self, inputs: int, outputs: int, init: Initializer, *, std: float = 0.02, bias: bool = True):
        self.weight = init.normal(outputs, inputs, std=std)
        self.bias = init.zeros(outputs) if bias else None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        y = F.linear(x, self.weight, self.bias, residual)
        return y if self.low_rank is None else self.low_rank(x, y)


class FusedLinear(Linear):
    """Several projections of one input as one product: (..., I) to their outputs beside each other, (..., O).

    parts: how wide each is, O their sum; model folders hold a tensor for each.
    """

    def __init__(self, inputs: int, parts: Sequence[int], init: Initializer, *, std: float = 0.02, bias: bool = True):
        super().__init__(inputs, sum(parts), init, std=std, bias=bias)
        self.parts = tuple(parts)
