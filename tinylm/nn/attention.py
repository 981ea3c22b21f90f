"""Multi-head self-attention and the cache that decoding keeps."""

from __future__ import annotations

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import Linear
from .module import Module

__all__ = ["AttentionCache", "MultiHeadAttention"]


class AttentionCache:
    """The keys and values of one layer for the tokens seen so far: arrays (B, G, capacity, D) and their length.

    heads: those of the keys, G; value_width: of the values, if it is not head_width.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        capacity: int,
        head_width: int,
        dtype: np.dtype,
        *,
        value_width: int | None = None,
    ):
        self.keys = np.empty((batch, heads, capacity, head_width), dtype)
        self.values = np.empty((batch, heads, capacity, value_width or head_width), dtype)
        self.length = 0

    def append(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add (B, G, T, D) new ones; return views of all, (B, G, length, D). Raises ValueError when full."""
        end = self.length + keys.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"the cache holds {self.keys.shape[2]} tokens and cannot grow to {end}")
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class MultiHeadAttention(Module):
    """Self-attention in H heads, with one fused projection for queries, keys and values.

    (B, T, C) to (B, T, C), plus the residual where one is given. A head is C / H wide, or head_width; its values are as
    wide, or value_width. kv_heads: fewer heads of keys and values than of queries, each of which serves several.
    window: (left, right), how many tokens before and after itself a token sees; None for no bound.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; Ainslie et al. 2023, arXiv:2305.13245 (kv_heads).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        init: Initializer,
        *,
        causal: bool,
        kv_heads: int | None = None,
        head_width: int | None = None,
        value_width: int | None = None,
        window: tuple[int | None, int | None] | None = None,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        if head_width is None and channels % heads:
            raise ValueError(f"MultiHeadAttention: {channels} channels do not divide into {heads} heads")
        self.heads, self.kv_heads = heads, kv_heads or heads
        if heads % self.kv_heads:
            raise ValueError(f"MultiHeadAttention: {heads} heads are not a multiple of {self.kv_heads} kv_heads")
        self.head_width = head_width or channels // heads
        self.value_width = value_width or self.head_width
        self.causal, self.window = causal, window
        fused = (heads + self.kv_heads) * self.head_width + self.kv_heads * self.value_width
        self.qkv = Linear(channels, fused, init, std=std)
        self.projection = Linear(heads * self.value_width, channels, init, std=projection_std)

    def forward(
        self,
        x: Tensor,
        *,
        key_mask: np.ndarray | None = None,
        bias: Tensor | np.ndarray | None = None,
        cache: AttentionCache | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """key_mask: (B, T) bool, False hides a token. bias: added to the scores (B, H, T, S), 1 for any of them.

        cache: the tokens before x; no gradient flows into it.
        """
        qkv = self.qkv(x)
        if cache is None:
            shape = {"heads": self.heads, "kv_heads": self.kv_heads, "value_width": self.value_width}
            y = F.self_attention(qkv, key_mask, bias, **shape, causal=self.causal, window=self.window)
        else:
            y = self._attend_to_cache(qkv, bias, cache)
        return self.projection(y, residual)

    def _attend_to_cache(self, qkv: Tensor, bias: Tensor | np.ndarray | None, cache: AttentionCache) -> Tensor:
        B, T, _ = qkv.shape
        ends = np.cumsum([self.heads * self.head_width, self.kv_heads * self.head_width])
        parts = zip(np.split(qkv.data, ends, axis=-1), (self.heads, self.kv_heads, self.kv_heads), strict=True)
        q, k, v = (part.reshape(B, T, heads, -1).swapaxes(1, 2) for part, heads in parts)  # (B, H or G, T, D or E)
        y = F.attention(q, *cache.append(k, v), None, bias, causal=self.causal, window=self.window)
        return F.reshape(F.transpose(y, axes=(0, 2, 1, 3)), shape=(B, T, self.heads * self.value_width))
