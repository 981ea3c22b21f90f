"""The blocks of a Transformer: layers around a stream of residuals. What they are made of, a model decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinylm.autograd import Tensor

from .attention import MultiHeadAttention
from .cross_attention import CrossAttention
from .dropout import Dropout
from .module import Module

__all__ = ["CrossBlock", "ParallelBlock", "TransformerBlock"]


class TransformerBlock(Module):
    """Attention and feed-forward, each with a norm, dropout and a residual connection: (B, T, C) to (B, T, C).

    Pre-norm (GPT-2, Llama):    x = x + drop(attention(norm1(x)));   x = x + drop(feed_forward(norm2(x)))
    Post-norm (2017, BERT):     x = norm1(x + drop(attention(x)));   x = norm2(x + drop(feed_forward(x)))
    attention: (x, residual=..., and what else the block is called with); feed_forward: (x, residual). Each adds the
    residual in its last projection, where no dropout stands between them. site: the dropout layers take the numbers
    site and site + 1.
    """

    def __init__(
        self,
        norm1: Module,
        attention: MultiHeadAttention,
        norm2: Module,
        feed_forward: Module,
        *,
        pre_norm: bool = True,
        dropout: float = 0.0,
        site: int = 0,
    ):
        self.pre_norm = pre_norm
        self.norm1, self.attention, self.dropout1 = norm1, attention, Dropout(dropout, site)
        self.norm2, self.feed_forward, self.dropout2 = norm2, feed_forward, Dropout(dropout, site + 1)

    def forward(self, x: Tensor, **seen: Any) -> Tensor:
        """seen: which tokens the attention sees: its key_mask, bias and cache."""

        def attend(x: Tensor, residual: Tensor | None) -> Tensor:
            return self.attention(x, residual=residual, **seen)

        x = self._part(x, self.norm1, attend, self.dropout1)
        return self._part(x, self.norm2, self.feed_forward, self.dropout2)

    def _part(self, x: Tensor, norm: Module, layer: Callable[..., Tensor], dropout: Dropout) -> Tensor:
        inner = norm(x) if self.pre_norm else x
        drops = dropout.training and dropout.rate
        x = x + dropout(layer(inner, None)) if drops else layer(inner, x)
        return x if self.pre_norm else norm(x)


class CrossBlock(TransformerBlock):
    """The block of a decoder that also attends to another sequence, between attention and feed-forward.

    site: the dropout layers take the numbers site to site + 2.
    """

    def __init__(
        self,
        norm1: Module,
        attention: MultiHeadAttention,
        cross_norm: Module,
        cross_attention: CrossAttention,
        norm2: Module,
        feed_forward: Module,
        *,
        pre_norm: bool = True,
        dropout: float = 0.0,
        site: int = 0,
    ):
        super().__init__(norm1, attention, norm2, feed_forward, pre_norm=pre_norm, dropout=dropout, site=site)
        self.cross_norm, self.cross_attention = cross_norm, cross_attention
        self.cross_dropout = Dropout(dropout, site + 2)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        memory: Tensor,
        *,
        memory_mask: np.ndarray | None = None,
        memory_key_value: Tensor | None = None,
        **seen: Any,
    ) -> Tensor:
        """memory: (B, S, C), the other sequence; memory_mask: (B, S), False hides a token; see `CrossAttention`."""

        def attend(x: Tensor, residual: Tensor | None) -> Tensor:
            return self.attention(x, residual=residual, **seen)

        def attend_to_memory(x: Tensor, residual: Tensor | None) -> Tensor:
            return self.cross_attention(x, memory, key_mask=memory_mask, key_value=memory_key_value, residual=residual)

        x = self._part(x, self.norm1, attend, self.dropout1)
        x = self._part(x, self.cross_norm, attend_to_memory, self.cross_dropout)
        return self._part(x, self.norm2, self.feed_forward, self.dropout2)


class ParallelBlock(TransformerBlock):
    """x + drop(attention(norm1(x))) + drop(feed_forward(norm2(x))): both see the same x (GPT-J, GPT-NeoX).

    Source: Black et al. 2022, arXiv:2204.06745, section 2.1.
    """

    def forward(self, x: Tensor, **seen: Any) -> Tensor:
        if self.dropout1.training and self.dropout1.rate:
            attended = x + self.dropout1(self.attention(self.norm1(x), **seen))
            return attended + self.dropout2(self.feed_forward(self.norm2(x), None))
        return self.feed_forward(self.norm2(x), self.attention(self.norm1(x), residual=x, **seen))
