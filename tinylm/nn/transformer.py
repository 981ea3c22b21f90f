"""The feed-forward layer and the block of a Transformer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .attention import AttentionCache, MultiHeadAttention
from .dropout import Dropout
from .initializer import Initializer
from .layer_norm import LayerNorm
from .linear import Linear
from .module import Module

__all__ = ["FeedForward", "TransformerBlock"]


class FeedForward(Module):
    """W2 activation(W1 x), (B, T, C) to (B, T, C) through `hidden` channels, plus the residual where one is given."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        init: Initializer,
        *,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        self.up = Linear(channels, hidden, init, std=std)
        self.down = Linear(hidden, channels, init, std=projection_std)
        self.activation = activation

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.down(self.activation(self.up(x)), residual)


class TransformerBlock(Module):
    """Attention and feed-forward, each with a norm, dropout and a residual connection: (B, T, C) to (B, T, C).

    Pre-norm (GPT-2):           x = x + drop(attention(norm1(x)));   x = x + drop(feed_forward(norm2(x)))
    Post-norm (2017, BERT):     x = norm1(x + drop(attention(x)));   x = norm2(x + drop(feed_forward(x)))
    The residual joins the last projection of each half in one pass, where no dropout stands between them.
    site: the dropout layers take the numbers site and site + 1.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        hidden: int,
        init: Initializer,
        *,
        causal: bool,
        pre_norm: bool = True,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        dropout: float = 0.0,
        site: int = 0,
        eps: float = 1e-5,
        std: float = 0.02,
        projection_std: float = 0.02,
    ):
        self.pre_norm = pre_norm
        self.norm1 = LayerNorm(channels, init, eps=eps)
        self.attention = MultiHeadAttention(
            channels, heads, init, causal=causal, std=std, projection_std=projection_std
        )
        self.dropout1 = Dropout(dropout, site)
        self.norm2 = LayerNorm(channels, init, eps=eps)
        self.feed_forward = FeedForward(
            channels, hidden, init, activation=activation, std=std, projection_std=projection_std
        )
        self.dropout2 = Dropout(dropout, site + 1)

    def forward(self, x: Tensor, *, key_mask: np.ndarray | None = None, cache: AttentionCache | None = None) -> Tensor:
        def attend(x: Tensor, residual: Tensor | None) -> Tensor:
            return self.attention(x, key_mask=key_mask, cache=cache, residual=residual)

        x = self._half(x, self.norm1, attend, self.dropout1)
        return self._half(x, self.norm2, self.feed_forward, self.dropout2)

    def _half(self, x: Tensor, norm: LayerNorm, layer: Callable[..., Tensor], dropout: Dropout) -> Tensor:
        inner = norm(x) if self.pre_norm else x
        drops = dropout.training and dropout.rate
        x = x + dropout(layer(inner, None)) if drops else layer(inner, x)
        return x if self.pre_norm else norm(x)
