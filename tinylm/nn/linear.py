"""The linear layer."""

from __future__ import annotations

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module

__all__ = ["Linear"]


class Linear(Module):
    """y = x W^T + b, and + residual where one is given: (..., I) to (..., O).

    std: of the Gaussian the weight (O, I) is drawn from; the bias (O,) starts at 0.
    """

    def __init__(self, inputs: int, outputs: int, init: Initializer, *, std: float = 0.02, bias: bool = True):
        self.weight = init.normal(outputs, inputs, std=std)
        self.bias = init.zeros(outputs) if bias else None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return F.linear(x, self.weight, self.bias, residual)
