"""What every encoder-decoder here can do: read a source text, and predict each token of a target text from both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.autograd import functional as F
from tinylm.nn import AttentionCache, Module

from .base import Model
from .blocks import call_block
from .causal_transformer import KeyValueCache
from .language_model import CausalLanguageModel

__all__ = ["Conditional", "DecoderCache", "EncoderDecoder"]


class DecoderCache(KeyValueCache):
    """What a decoder keeps: the keys and values of its own tokens, and of each layer those of the source.

    memory_mask: (B, S) bool, False for what no target token sees of the source.
    """

    def __init__(
        self, layers: list[AttentionCache], memory_key_values: list[Tensor], memory_mask: np.ndarray | None = None
    ):
        super().__init__(layers)
        self.memory_key_values, self.memory_mask = memory_key_values, memory_mask

    def joined(self, caches: Sequence[KeyValueCache]) -> KeyValueCache:
        raise TypeError("the caches of targets are not joined: their sources differ in length")

    def select(self, rows: np.ndarray) -> None:
        """Go on with these rows, in this order; a row may come more than once. rows: (B,) integers."""
        super().select(rows)
        self.memory_key_values = [Tensor(kv.data[rows]) for kv in self.memory_key_values]
        self.memory_mask = None if self.memory_mask is None else self.memory_mask[rows]


class Stack(Module):
    """The encoder or the decoder: embeddings, blocks, and what follows them. Subclasses make the parts."""

    blocks: list[Any]

    def embed(self, ids: np.ndarray, start: int) -> Tensor:
        """What the first block sees of ids (B, T), the first of which stands at position `start`: (B, T, C)."""
        raise TypeError(f"{type(self).__name__} defines no embed")

    def bias(self, queries: int, keys: int) -> Tensor | None:
        """What all blocks add to their scores, (1, H, T, S); None for nothing."""
        return None

    def last(self, x: Tensor) -> Tensor:
        """What becomes of the output of the last block."""
        return x


class EncoderDecoder(Model):
    """An encoder, a decoder of `CrossBlock`s and an output projection. Subclasses make them.

    Source: Sutskever et al. 2014, arXiv:1409.3215; Vaswani et al. 2017, arXiv:1706.03762.
    """

    main_head = "conditional"  # on a source text
    encoder: Stack
    decoder: Stack
    gradient_checkpointing: bool = False

    @property
    def context(self) -> int | None:
        """How many tokens each side can look at; None where there is no limit."""
        return None

    @property
    def head_weight(self) -> Tensor:
        """The output projection, (V, C)."""
        raise TypeError(f"{type(self).__name__} defines no head_weight")

    @property
    def head_bias(self) -> Any:
        """The bias of the output projection, (V,), or None."""
        return None

    def encode(self, ids: np.ndarray, key_mask: np.ndarray | None = None) -> Tensor:
        """The memory (B, S, C) of the source ids (B, S). key_mask: (B, S) bool, False for padding."""
        x, bias = self.encoder.embed(ids, 0), self.encoder.bias(ids.shape[1], ids.shape[1])
        for block in self.encoder.blocks:
            x = call_block(block, x, again=self.gradient_checkpointing, key_mask=key_mask, bias=bias)
        return self.encoder.last(x)

    def decode(
        self,
        ids: np.ndarray,
        memory: Tensor,
        *,
        memory_mask: np.ndarray | None = None,
        key_mask: np.ndarray | None = None,
        cache: DecoderCache | None = None,
    ) -> Tensor:
        """The last hidden state (B, T, C) of each target token: ids (B, T); with a cache, the new ones.

        A cache holds what is needed of the memory and its mask: those given count for nothing then.
        """
        start, memory_mask = (cache.length, cache.memory_mask) if cache else (0, memory_mask)
        x, bias = self.decoder.embed(ids, start), self.decoder.bias(ids.shape[1], start + ids.shape[1])
        for index, block in enumerate(self.decoder.blocks):
            seen: dict[str, Any] = {"memory": memory, "memory_mask": memory_mask, "key_mask": key_mask, "bias": bias}
            if cache:
                seen |= {"cache": cache.layers[index], "memory_key_value": cache.memory_key_values[index]}
            x = call_block(block, x, again=self.gradient_checkpointing and not cache, **seen)
        return self.decoder.last(x)

    def forward(
        self,
        ids: np.ndarray,
        decoder_ids: np.ndarray,
        key_mask: np.ndarray | None = None,
        decoder_key_mask: np.ndarray | None = None,
    ) -> Tensor:
        """The logits (B, T, V) of the token after each of decoder_ids (B, T), given the source ids (B, S)."""
        memory = self.encode(ids, key_mask)
        return self.logits(self.decode(decoder_ids, memory, memory_mask=key_mask, key_mask=decoder_key_mask))

    def logits(self, hidden: Tensor) -> Tensor:
        """(B, T, V) from the decoder's last hidden states (B, T, C)."""
        return F.linear(hidden, self.head_weight, self.head_bias)

    def loss(
        self,
        ids: np.ndarray,
        targets: np.ndarray,
        *,
        key_mask: np.ndarray | None = None,
        label_smoothing: float = 0.0,
    ) -> Tensor:
        """The mean cross-entropy in nats of the targets (B, T), each predicted from the true ones before it.

        ids: the source, (B, S). Targets of -100 do not count, and are padding to the decoder. Source of the
        smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7.
        """
        with self.observed():
            logits = self(ids, self.shifted(targets), key_mask)
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing, in_place=True)

    def shifted(self, targets: np.ndarray) -> np.ndarray:
        """What the decoder reads while it predicts the targets: the token that begins a text, then all but the last."""
        first = np.full((len(targets), 1), self.config.decoder_start_token_id, targets.dtype)
        before = np.where(targets[:, :-1] == K.IGNORE, self.config.pad_token_id, targets[:, :-1])
        return np.concatenate([first, before], axis=1)

    def given(self, ids: np.ndarray, key_mask: np.ndarray | None = None) -> Conditional:
        """The decoder as a language model of target texts, for these sources (B, S), which are read here.

        key_mask: (B, S) bool, False for padding. Its `new_cache` and `forward` are what generation needs, step by step.
        """
        with no_grad():
            return Conditional(self, self.encode(ids, key_mask), key_mask)


class Conditional(CausalLanguageModel):
    """A decoder together with the memory of its sources: predicts each target token from those before it.

    Of several sources each row of target tokens has its own; with a cache a source may have several rows.
    """

    def __init__(self, model: EncoderDecoder, memory: Tensor, memory_mask: np.ndarray | None):
        self.config = model.config
        self._model, self._memory, self._memory_mask = model, memory, memory_mask

    @property
    def context(self) -> int | None:
        return self._model.context

    @property
    def head_weight(self) -> Tensor:
        return self._model.head_weight

    def hidden(  # type: ignore[override]
        self, ids: np.ndarray, cache: Any = None, key_mask: np.ndarray | None = None
    ) -> Tensor:
        return self._model.decode(ids, self._memory, memory_mask=self._memory_mask, key_mask=key_mask, cache=cache)

    def forward(  # type: ignore[override]
        self, ids: np.ndarray, cache: Any = None, key_mask: np.ndarray | None = None
    ) -> Tensor:
        return self._model.logits(self.hidden(ids, cache, key_mask))

    def new_cache(self, batch: int) -> DecoderCache:
        """An empty cache for `batch` rows of target tokens: as many for each source, beside each other."""
        sources = len(self._memory.data)
        if batch % sources:
            raise ValueError(f"new_cache: {batch} rows are not as many for each of {sources} sources")
        capacity = self.context or LONGEST
        layers = [block.attention.new_cache(sources, capacity) for block in self._model.decoder.blocks]
        cache = DecoderCache(layers, self._memory_key_values, self._memory_mask)
        if batch > sources:
            cache.select(np.repeat(np.arange(sources), batch // sources))
        return cache

    @cached_property
    def _memory_key_values(self) -> list[Tensor]:
        with no_grad():
            return [block.cross_attention.key_value(self._memory) for block in self._model.decoder.blocks]


# The most tokens of a target where the model sets no limit.
LONGEST = 1 << 20
