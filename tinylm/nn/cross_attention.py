"""Attention of one sequence to another."""

from __future__ import annotations

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import Linear
from .module import Module

__all__ = ["CrossAttention"]


class CrossAttention(Module):
    """Queries from one sequence, (B, T, C), keys and values from another, (B, S, memory_channels), to (B, T, C).

    A head is C / H wide, or head_width; its values are as wide, or value_width. memory_channels is C unless given.
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
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        if head_width is None and channels % heads:
            raise ValueError(f"CrossAttention: {channels} channels do not divide into {heads} heads")
        self.heads = heads
        head_width = head_width or channels // heads
        value_width = value_width or head_width
        self.query = Linear(channels, heads * head_width, init, std=std)
        self.key_value = Linear(memory_channels or channels, heads * (head_width + value_width), init, std=std)
        self.projection = Linear(heads * value_width, channels, init, std=projection_std)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        *,
        key_mask: np.ndarray | None = None,
        bias: Tensor | np.ndarray | None = None,
        causal: bool = False,
        residual: Tensor | None = None,
    ) -> Tensor:
        """key_mask: (B, S) bool, False hides a token of memory. bias: added to the scores (B, H, T, S), 1 for any."""
        y = F.cross_attention(self.query(x), self.key_value(memory), key_mask, bias, heads=self.heads, causal=causal)
        return self.projection(y, residual)
