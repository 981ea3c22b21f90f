"""What the decoders of this package share: embeddings, blocks, a last norm, and the output projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.nn import AttentionCache, Embedding, Linear, Module, RaggedCache, TransformerBlock

from .blocks import call_block, document_sight
from .language_model import CausalLanguageModel

__all__ = ["CausalTransformer", "KeyValueCache"]


class KeyValueCache:
    """The keys and values of all layers for the tokens seen so far; `length` of the longest row."""

    def __init__(self, layers: list[AttentionCache]):
        self.layers = layers

    @property
    def length(self) -> int:
        return self.layers[0].length

    def keep(self, length: int) -> bool:
        for layer in self.layers:
            layer.length = min(layer.length, length)
        return True

    def positions(self, count: int) -> np.ndarray | None:
        """Where the next `count` tokens of each row stand, (B, T); None where all rows have seen as many."""
        offsets = self.layers[0].offsets
        return None if offsets is None else offsets[:, None] + np.arange(count)

    def joined(self, caches: Sequence[KeyValueCache]) -> KeyValueCache:
        return KeyValueCache([RaggedCache(layers) for layers in zip(*(cache.layers for cache in caches), strict=True)])

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

    def embed(self, ids: np.ndarray, positions: np.ndarray) -> Tensor:
        """What the first block sees of ids (B, T), which stand at positions (T,) or (B, T): (B, T, C)."""
        return self.tokens(ids)

    def hidden(  # type: ignore[override]
        self,
        ids: np.ndarray,
        cache: KeyValueCache | None = None,
        key_mask: np.ndarray | None = None,
        *,
        positions: np.ndarray | None = None,
        documents: np.ndarray | None = None,
    ) -> Tensor:
        """As `CausalLanguageModel` says.

        positions: (B, T) integers, where each token stands in its text; unless given one after the other, after those
        in the cache. Rows with padding before them have those of `padded_positions`. documents: (B, T) integers, a run
        of equal ones for each text, where a row holds several: tokens see those of their own text alone, in which the
        positions begin anew. Source: Krell et al. 2021, arXiv:2107.02027.
        """
        seen: dict[str, Any] = {"key_mask": key_mask}
        if documents is not None:
            if cache or positions is not None:
                raise ValueError(f"{type(self).__name__}: documents say where tokens stand, and have no cache")
            seen["bias"], positions = document_sight(documents, self.tokens.weight.dtype)
        if cache and positions is None:
            positions = cache.positions(ids.shape[1])
        start = cache.length if cache else 0
        x = self.embed(ids, np.arange(start, start + ids.shape[1]) if positions is None else positions)  # (B, T, C)
        for index, block in enumerate(self.blocks):
            kept = {"cache": cache.layers[index]} if cache else {}
            again = bool(self.gradient_checkpointing) and not cache
            x = call_block(block, x, again=again, positions=positions, **seen, **kept)
        return self.norm(x)

    def new_cache(self, batch: int) -> KeyValueCache:
        return KeyValueCache([block.attention.new_cache(batch, self.context) for block in self.blocks])
