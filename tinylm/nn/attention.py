"""Multi-head self-attention and the cache that decoding keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .linear import FusedLinear, Linear
from .module import Module
from .rotary import Rotary

__all__ = ["AttentionCache", "MultiHeadAttention", "RaggedCache"]

# The tokens that a cache has room for at first; it doubles when they do not do, up to its capacity.
FIRST_ROOM = 256


class AttentionCache:
    """The keys and values of one layer for the tokens seen so far: arrays (B, G, room, D) and their length.

    heads: those of the keys, G; capacity: the most tokens; value_width: of the values, if it is not head_width.
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
        self.capacity = capacity
        room = min(FIRST_ROOM, capacity)
        self.keys = np.empty((batch, heads, room, head_width), dtype)
        self.values = np.empty((batch, heads, room, value_width or head_width), dtype)
        self.length = 0

    def append(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add (B, G, T, D) new ones; return views of all, (B, G, length, D). Raises ValueError when full."""
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens and cannot grow to {end}")
        if end > self.keys.shape[2]:
            room = min(max(end, 2 * self.keys.shape[2]), self.capacity)
            self.keys, self.values = (self._with_room(array, room) for array in (self.keys, self.values))
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    @property
    def offsets(self) -> np.ndarray | None:
        """The place of the next token in each row, (B,); None where it is `length` in all of them."""
        return None

    def select(self, rows: np.ndarray) -> None:
        """Go on with these rows, in this order; a row may come more than once. rows: (B,) integers."""
        self.keys, self.values = self.keys[rows], self.values[rows]

    def _with_room(self, array: np.ndarray, room: int) -> np.ndarray:
        larger = np.empty((*array.shape[:2], room, array.shape[3]), array.dtype)
        larger[:, :, : self.length] = array[:, :, : self.length]
        return larger


class RaggedCache(AttentionCache):
    """The keys and values of one layer for rows that have seen different numbers of tokens, `lengths` (B,).

    length: of the longest. Made of caches of one or several rows; it grows by a token of each row at a time.
    """

    def __init__(self, caches: Sequence[AttentionCache]):
        self.capacity = caches[0].capacity
        self.lengths = np.concatenate([_lengths(cache) for cache in caches])
        self.length = int(self.lengths.max(initial=0))
        self.keys = self._joined([cache.keys for cache in caches])
        self.values = self._joined([cache.values for cache in caches])

    @property
    def offsets(self) -> np.ndarray:
        return self.lengths

    def append(self, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add (B, G, 1, D) new ones; return views of all up to the longest row, which hold zeros beyond a row's end."""
        end = self.length + 1
        if end > self.capacity or keys.shape[2] != 1:
            raise ValueError(f"the cache holds {self.capacity} tokens of a row, and takes one at a time")
        if end > self.keys.shape[2]:
            self.keys, self.values = (self._with_more(array) for array in (self.keys, self.values))
        rows = np.arange(len(self.lengths))
        self.keys[rows, :, self.lengths], self.values[rows, :, self.lengths] = keys[:, :, 0], values[:, :, 0]
        self.lengths, self.length = self.lengths + 1, end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def select(self, rows: np.ndarray) -> None:
        super().select(rows)
        self.lengths = self.lengths[rows]
        self.length = int(self.lengths.max(initial=0))

    def _joined(self, arrays: list[np.ndarray]) -> np.ndarray:
        """Rows beneath each other, with room for some more tokens."""
        room = min(self.length + FIRST_ROOM, self.capacity)
        whole = np.zeros((len(self.lengths), arrays[0].shape[1], room, arrays[0].shape[3]), arrays[0].dtype)
        first = 0
        for array in arrays:
            known = min(array.shape[2], self.length)
            whole[first : first + len(array), :, :known] = array[:, :, :known]
            first += len(array)
        for row, length in enumerate(self.lengths):
            whole[row, :, length:] = 0
        return whole

    def _with_more(self, array: np.ndarray) -> np.ndarray:
        room = min(2 * array.shape[2], self.capacity)
        return np.pad(array, ((0, 0), (0, 0), (0, room - array.shape[2]), (0, 0)))


def _lengths(cache: AttentionCache) -> np.ndarray:
    """How many tokens each row of a cache has seen, (B,)."""
    return cache.lengths if isinstance(cache, RaggedCache) else np.full(len(cache.keys), cache.length)


class MultiHeadAttention(Module):
    """Self-attention in H heads, with one fused projection for queries, keys and values.

    (B, T, C) to (B, T, C), plus the residual where one is given. A head is C / H wide, or head_width; its values are as
    wide, or value_width. kv_heads: fewer heads of keys and values than of queries, each of which serves several.
    window: (left, right), how many tokens before and after itself a token sees; None for no bound. rotary: turns
    queries and keys by their positions. scale: of the scores, 1 / sqrt(head_width) where None. qkv_bias,
    projection_bias: whether the projections have one.
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
        rotary: Rotary | None = None,
        scale: float | None = None,
        qkv_bias: bool = True,
        projection_bias: bool = True,
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
        self.rotary = rotary
        self.sight: dict[str, Any] = {"causal": causal, "window": window, "scale": scale}
        parts = heads * self.head_width, self.kv_heads * self.head_width, self.kv_heads * self.value_width
        self.qkv = FusedLinear(channels, parts, init, std=std, bias=qkv_bias)
        self.projection = Linear(heads * self.value_width, channels, init, std=projection_std, bias=projection_bias)

    def new_cache(self, batch: int, capacity: int) -> AttentionCache:
        """An empty cache for up to `capacity` tokens of each of `batch` rows."""
        return AttentionCache(
            batch, self.kv_heads, capacity, self.head_width, self.qkv.weight.dtype, value_width=self.value_width
        )

    def forward(
        self,
        x: Tensor,
        *,
        key_mask: np.ndarray | None = None,
        bias: Tensor | np.ndarray | None = None,
        cache: AttentionCache | None = None,
        positions: np.ndarray | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """key_mask: (B, S) bool, False hides a token. bias: added to the scores (B, H, T, S), 1 for any of them.

        cache: the tokens before x, which S counts as well as x's; no gradient flows into it. positions: (B, T)
        integers, by which rotary positions turn; unless given one after the other, after those in the cache.
        """
        qkv = self.qkv(x)
        if cache is not None:
            y = self._attend_to_cache(qkv, key_mask, bias, cache, positions)
        else:
            angles = self._angles(0, x.shape[1], positions, qkv.dtype)
            shape = {"heads": self.heads, "kv_heads": self.kv_heads, "value_width": self.value_width}
            y = F.self_attention(qkv, key_mask, bias, *angles, **shape, **self.sight)
        return self.projection(y, residual)

    def _attend_to_cache(
        self,
        qkv: Tensor,
        key_mask: np.ndarray | None,
        bias: Tensor | np.ndarray | None,
        cache: AttentionCache,
        positions: np.ndarray | None,
    ) -> Tensor:
        B, T, _ = qkv.shape
        ends = np.cumsum(self.qkv.parts[:2])
        parts = zip(np.split(qkv.data, ends, axis=-1), (self.heads, self.kv_heads, self.kv_heads), strict=True)
        q, k, v = (part.reshape(B, T, heads, -1).swapaxes(1, 2) for part, heads in parts)  # (B, H or G, T, D or E)
        if self.rotary:
            angles = self._angles(cache.length, T, positions, q.dtype)
            q, k = K.rope(q, *angles), K.rope(k, *angles)
        offsets = cache.offsets
        y = F.attention(q, *cache.append(k, v), key_mask, bias, offsets, **self.sight)
        return F.reshape(F.transpose(y, axes=(0, 2, 1, 3)), shape=(B, T, self.heads * self.value_width))

    def _angles(self, start: int, count: int, positions: np.ndarray | None, dtype: Any) -> tuple[Any, Any, Any]:
        """(cos, sin, positions) for `count` tokens as `tinylm_kernels.rope` takes them; None where nothing turns."""
        if self.rotary is None:
            return None, None, None
        if positions is not None:
            return *self.rotary.tables(int(positions.max(initial=0)) + 1, dtype), positions
        cos, sin = self.rotary.tables(start + count, dtype)
        return cos[start:], sin[start:], None
