"""The layer normalisation layer."""

from __future__ import annotations

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module

__all__ = ["LayerNorm"]


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis of size C."""

    def __init__(self, channels: int, init: Initializer, *, eps: float = 1e-5):
        self.weight = init.ones(channels)
        self.bias = init.zeros(channels)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight, self.bias, eps=self.eps)
