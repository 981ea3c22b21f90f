"""The root mean square normalisation layer."""

from __future__ import annotations

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module

__all__ = ["RMSNorm"]


class RMSNorm(Module):
    """x / sqrt(mean x^2 + eps) * weight over the last axis of size C, as in Llama."""

    def __init__(self, channels: int, init: Initializer, *, eps: float = 1e-5):
        self.weight = init.ones(channels)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight, eps=self.eps)
