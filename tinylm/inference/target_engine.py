"""The engine of an encoder-decoder: the Module reads a source, once, and a plan writes its targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.autograd import no_grad
from tinylm.models import EncoderDecoder, plan_targets

from .cache import DecodeCache, SourceMemory
from .engine import Engine
from .weights import module_matrices

__all__ = ["TargetEngine", "Targets"]


class TargetEngine:
    """Writes the targets of sources with the weights of a Module, which it shares; see `open_target_engine`."""

    def __init__(self, model: EncoderDecoder, decoder: Engine):
        self.model, self.decoder = model, decoder

    @classmethod
    def of(cls, model: EncoderDecoder) -> TargetEngine | None:
        """One for a Module, or None where its decoder has no plan, or its weights are no float32."""
        plan = plan_targets(model, module_matrices(model))
        return None if plan is None else cls(model, Engine(model, plan))

    @property
    def config(self) -> Any:
        """The model's settings."""
        return self.model.config

    @property
    def architecture(self) -> str:
        """What config.json calls the class of the model."""
        return self.model.architecture

    @property
    def context(self) -> int | None:
        """How many tokens a source may have; None where there is no limit."""
        return self.model.context

    def given(self, ids: np.ndarray, key_mask: np.ndarray | None = None) -> Targets:
        """The decoder as a language model of target texts, for these sources (B, S), which are read here.

        key_mask: (B, S) bool, False for padding.
        """
        with no_grad():
            memory = self.model.encode(ids, key_mask)
            layers = [block.cross_attention.key_value(memory).data for block in self.model.decoder.blocks]
        rows = np.ones(ids.shape, bool) if key_mask is None else key_mask
        plan = self.decoder.plan
        return Targets(self.decoder, [SourceMemory(plan, [kv[b, row] for kv in layers]) for b, row in enumerate(rows)])


class Targets:
    """A decoder together with the memories of its sources, as generation takes it (`Decoder`).

    engine: takes the targets of all sources as well, in one batch.
    """

    def __init__(self, engine: Engine, memories: Sequence[SourceMemory]):
        self.engine, self._memories = engine, memories

    @property
    def config(self) -> Any:
        """The model's settings."""
        return self.engine.config

    @property
    def context(self) -> int:
        """How many tokens a target may have."""
        return self.engine.context

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end a text."""
        return self.engine.end_ids

    def new_cache(self, batch: int) -> DecodeCache:
        """An empty cache for `batch` rows of target tokens: as many for each source, beside each other."""
        each, rest = divmod(batch, len(self._memories))
        if rest:
            raise ValueError(f"new_cache: {batch} rows are not as many for each of {len(self._memories)} sources")
        return DecodeCache([self.engine.new_sequence(memory) for memory in self._memories for _ in range(each)])

    def last_logits(self, ids: np.ndarray, cache: DecodeCache | None = None, count: int = 1) -> np.ndarray:
        """The logits (B, count, V) after each of the last `count` of ids (B, T), which follow those in the cache."""
        return self.engine.last_logits(ids, cache or self.new_cache(len(ids)), count)
