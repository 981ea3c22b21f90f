"""The feed-forward layer of a Transformer, plain and gated."""

from __future__ import annotations

from collections.abc import Callable

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import FusedLinear, Linear
from .module import Module

__all__ = ["FeedForward", "GatedFeedForward", "SwiGLU"]


class FeedForward(Module):
    """W2 activation(W1 x), (B, T, C) to (B, T, C) through `hidden` channels, plus the residual where one is given."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        init: Initializer,
        *,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        bias: bool = True,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        self.up = Linear(channels, hidden, init, std=std, bias=bias)
        self.down = Linear(hidden, channels, init, std=projection_std, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.down(self.activation(self.up(x)), residual)


class GatedFeedForward(Module):
    """W_down (activation(W_gate x) * W_up x), (B, T, C) to (B, T, C), plus the residual where one is given.

    gate_up: W_gate above W_up in one matrix (2 hidden, C), for one product.
    Source: Shazeer 2020, arXiv:2002.05202, section 2.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        init: Initializer,
        *,
        activation: Callable[[Tensor], Tensor],
        bias: bool = False,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        self.gate_up = FusedLinear(channels, (hidden, hidden), init, std=std, bias=bias)
        self.down = Linear(hidden, channels, init, std=projection_std, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.down(self.gate(self.gate_up(x)), residual)

    def gate(self, gate_up: Tensor) -> Tensor:
        """activation(gate) * up, for both beside each other: (..., 2 hidden) to (..., hidden)."""
        gate, up = F.split(gate_up, sections=2, axis=-1)
        return self.activation(gate) * up


class SwiGLU(GatedFeedForward):
    """The gated layer with SiLU, as in Llama, and a gate of one pass."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        init: Initializer,
        *,
        bias: bool = False,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        super().__init__(channels, hidden, init, activation=F.silu, bias=bias, std=std, projection_std=projection_std)

    def gate(self, gate_up: Tensor) -> Tensor:
        return F.fused_swiglu(gate_up)
