"""What every encoder here can do: read a whole text at once, and answer with what its head is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.errors import TinylmError
from tinylm.nn import Dropout, Embedding, LayerNorm, TransformerBlock

from .base import Model
from .blocks import call_block
from .heads import Head

__all__ = ["Encoder"]


class Encoder(Model):
    """Embeddings of tokens, positions and token types, a norm, post-norm blocks, and a head. Subclasses make the parts.

    Source: Devlin et al. 2019, arXiv:1810.04805.
    """

    tokens: Embedding
    positions: Embedding
    token_types: Embedding | None
    norm: LayerNorm
    dropout: Dropout
    blocks: Sequence[TransformerBlock]
    head: Head | None
    gradient_checkpointing: bool = False

    @property
    def context(self) -> int:
        """How many tokens the model can look at."""
        return self.config.max_position_embeddings

    def hidden(
        self, ids: np.ndarray, key_mask: np.ndarray | None = None, token_types: np.ndarray | None = None
    ) -> Tensor:
        """The last hidden state of each token: ids (B, T) integers to (B, T, C).

        key_mask: (B, T) bool, False for padding, which no token sees. token_types: (B, T) integers, which of the texts
        a token belongs to, 0 for all unless given.
        """
        T = ids.shape[1]
        if self.context < T:
            raise ValueError(f"{type(self).__name__}: {T} tokens do not fit into a context of {self.context}")
        x = self.tokens(ids) + self.positions(np.arange(T))  # (B, T, C)
        if self.token_types is not None:
            x = x + self.token_types(np.zeros((1, T), np.int64) if token_types is None else token_types)
        elif token_types is not None:
            raise ValueError(f"{type(self).__name__} knows no token types")
        x = self.dropout(self.norm(x))
        for block in self.blocks:
            x = call_block(block, x, again=self.gradient_checkpointing, key_mask=key_mask)
        return x

    def forward(self, ids: np.ndarray, **seen: Any) -> Tensor:
        """What the head makes of the hidden states (see `heads`); these themselves, (B, T, C), where there is none.

        seen: see `hidden`.
        """
        x = self.hidden(ids, **seen)
        return x if self.head is None else self.head(x)

    def loss(self, ids: np.ndarray, targets: Any, *, label_smoothing: float = 0.0, **seen: Any) -> Tensor:
        """The mean loss of the head in nats; what its targets are says its `loss`. seen: see `hidden`."""
        if self.head is None:
            raise TinylmError(f"{self.architecture} has no head to train; load or build it with one")
        with self.observed():
            return self.head.loss(self.hidden(ids, **seen), targets, label_smoothing=label_smoothing)
