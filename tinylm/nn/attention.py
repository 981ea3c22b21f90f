"""Multi-head self-attention and the cache that decoding keeps."""

from __future__ import annotations

import math

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import Linear
from .module import Module

__all__ = ["AttentionCache", "MultiHeadAttention"]


class AttentionCache:
    """The keys and values of one layer for the tokens seen so far: arrays (B, H, capacity, D) and their length."""

    def __init__(self, batch: int, heads: int, capacity: int, head_width: int, dtype: np.dtype):
        self.keys = np.empty((batch, heads, capacity, head_width), dtype)
        self.values = np.empty_like(self.keys)
        self.length = 0

    def append(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add (B, H, T, D) new ones; return views of all, (B, H, length, D). Raises ValueError when full."""
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache holds {self.keys.shape[2]} tokens and cannot grow to {end}")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class MultiHeadAttention(Module):
    """Self-attention in H heads of width C / H, with one fused projection for queries, keys and values.

    (B, T, C) to (B, T, C), plus the residual where one is given. Source: Vaswani et al. 2017, arXiv:1706.03762,
    section 3.2.2.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        init: Initializer,
        *,
        causal: bool,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        if channels % heads:
            raise ValueError(f"MultiHeadAttention: {channels} channels do not divide into {heads} heads")
        self.heads, self.causal = heads, causal
        self.qkv = Linear(channels, 3 * channels, init, std=std)
        self.projection = Linear(channels, channels, init, std=projection_std)

    def forward(
        self,
        x: Tensor,
        *,
        key_mask: np.ndarray | None = None,
        cache: AttentionCache | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """key_mask: (B, T) bool, False hides a token. cache: the tokens before x; no gradient flows into it."""
        qkv = self.qkv(x)
        if cache is None:
            y = F.self_attention(qkv, key_mask, heads=self.heads, causal=self.causal)
        else:
            y = self._attend_to_cache(qkv, cache)
        return self.projection(y, residual)

    def _attend_to_cache(self, qkv: Tensor, cache: AttentionCache) -> Tensor:
        B, T, C3 = qkv.shape
        D = C3 // 3 // self.heads
        q, k, v = qkv.data.reshape(B, T, 3, self.heads, D).transpose(2, 0, 3, 1, 4)  # (B, H, T, D) each
        keys, values = cache.append(k, v)
        y = F.attention(q, keys, values, causal=self.causal, scale=1 / math.sqrt(D))
        return F.reshape(F.transpose(y, axes=(0, 2, 1, 3)), shape=(B, T, C3 // 3))
