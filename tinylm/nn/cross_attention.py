"""Attention of one sequence to another."""

from __future__ import annotations

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import FusedLinear, Linear
from .module import Module

__all__ = ["CrossAttention"]


class CrossAttention(Module):
    """Queries from one sequence, (B, T, C), keys and values from another, (B, S, memory_channels), to (B, T, C).

    A head is C / H wide, or head_width; its values are as wide, or value_width. memory_channels is C unless given.
    scale: of the scores, 1 / sqrt(head_width) where None. bias: whether the projections have one.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.3 ("encoder-decoder attention").
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        init: Initializer,
        *,
        memory_channels: int | None = None,
        head_width: int | None = None,
        value_width: int | None = None,
        scale: float | None = None,
        bias: bool = True,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        if head_width is None and channels % heads:
            raise ValueError(f"CrossAttention: {channels} channels do not divide into {heads} heads")
        self.heads, self.scale = heads, scale
        head_width = head_width or channels // heads
        value_width = value_width or head_width
        parts = heads * head_width, heads * value_width
        self.query = Linear(channels, heads * head_width, init, std=std, bias=bias)
        self.key_value = FusedLinear(memory_channels or channels, parts, init, std=std, bias=bias)
        self.projection = Linear(heads * value_width, channels, init, std=projection_std, bias=bias)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        key_mask: np.ndarray | None = None,
        bias: Tensor | np.ndarray | None = None,
        causal: bool = False,
        key_value: Tensor | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """key_mask: (B, S) bool, False hides a token of memory. bias: added to the scores (B, H, T, S), 1 for any.

        key_value: what `self.key_value(memory)` gave, for a decoder that asks the same memory again.
        """
        kv = self.key_value(memory) if key_value is None else key_value
        y = F.cross_attention(self.query(x), kv, key_mask, bias, heads=self.heads, causal=causal, scale=self.scale)
        return self.projection(y, residual)
