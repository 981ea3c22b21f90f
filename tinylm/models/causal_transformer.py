"""What the decoders of this package share: embeddings, blocks, a last norm, and the output projection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinylm.autograd import Tensor, checkpoint
from tinylm.nn import AttentionCache, Embedding, Linear, Module, TransformerBlock

from .language_model import CausalLanguageModel

__all__ = ["CausalTransformer", "KeyValueCache"]


class KeyValueCache:
    """The keys and values of all layers for the tokens seen so far."""

    def __init__(self, layers: list[AttentionCache]):
        self.layers = layers

    @property
    def length(self) -> int:
        return self.layers[0].length

    def keep(self, length: int) -> bool:
        for layer in self.layers:
            layer.length = min(layer.length, length)
        return True

    def select(self, rows: np.ndarray) -> None:
        for layer in self.layers:
            layer.select(rows)


class CausalTransformer(CausalLanguageModel):
    """Token embeddings, L blocks, a last norm, and the output projection. Subclasses make the parts.

    head: None where the output projection is the token embedding.
    """

    tokens: Embedding
    blocks: Sequence[TransformerBlock]
    norm: Module
    head: Linear | None
    gradient_checkpointing = False

    @property
    def context(self) -> int:
        raise TypeError(f"{type(self).__name__} defines no context")

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight if self.head is None else self.head.weight

    def embed(self, ids: np.ndarray, start: int) -> Tensor:
        """What the first block sees of ids (B, T), the first of which stands at position `start`: (B, T, C)."""
        return self.tokens(ids)

    def hidden(self, ids: np.ndarray, cache: KeyValueCache | None = None, key_mask: np.ndarray | None = None) -> Tensor:
        x = self.embed(ids, cache.length if cache else 0)  # (B, T, C)
        for index, block in enumerate(self.blocks):
            if cache:
                x = block(x, key_mask=key_mask, cache=cache.layers[index])
            elif self.gradient_checkpointing:
                x = checkpoint(partial(block, key_mask=key_mask), x)
            else:
                x = block(x, key_mask=key_mask)
        return self.norm(x)

    def new_cache(self, batch: int) -> KeyValueCache:
        return KeyValueCache([block.attention.new_cache(batch, self.context) for block in self.blocks])
