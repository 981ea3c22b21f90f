"""The gated feed-forward layer."""

from __future__ import annotations

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import Linear
from .module import Module

__all__ = ["SwiGLU"]


class SwiGLU(Module):
    """W_down (silu(W_gate x) * W_up x), (B, T, C) to (B, T, C) through `hidden` channels, as in Llama: no biases.

    gate_up: W_gate above W_up in one matrix (2 hidden, C), for one product. The residual is added where one is given.
    Source: Shazeer 2020, arXiv:2002.05202, eq. 6.
    """

    def __init__(
        self, channels: int, hidden: int, init: Initializer, *, std: float = 0.02, projection_std: float = 0.02
    ):
        self.gate_up = Linear(channels, 2 * hidden, init, std=std, bias=False)
        self.down = Linear(hidden, channels, init, std=projection_std, bias=False)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.down(F.fused_swiglu(self.gate_up(x)), residual)
