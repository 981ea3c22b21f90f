"""The decode engine: the logits after tokens, from weights as they lie in a file, without building a Module."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.formats.source import ModelSource
from tinylm.models import CausalTransformer, EncoderDecoder, Plan, plan_decoding

from .by_kernels import run_by_kernels
from .cache import DecodeCache, SequenceCache, SourceMemory
from .interleaving import with_interleaved
from .prefixes import PrefixStore
from .weights import file_matrices, module_matrices

__all__ = ["Engine", "open_engine"]

# Tokens of a text that go through the compiled program together. A shorter prompt needs no other kernels: they are not
# even loaded.
TOGETHER = 32
# Tokens of a prompt that are read at once: enough for products to run at full speed, few enough for their buffers to
# stay small.
AT_ONCE = 512


class Engine:
    """Runs a plan: one token of some sequences as a compiled program, many tokens by kernels one after the other.

    Without Numba everything is run by kernels. Several threads may use one engine, each with caches of its own.
    """

    def __init__(
        self, model: CausalTransformer | EncoderDecoder, plan: Plan, *, deterministic: bool = False, kept_bytes: int = 0
    ):
        """model: the Module of the plan, which may be without weights: for its settings.

        deterministic: prompts are read by the same sums as single tokens, so that the logits have the same bits however
        tokens are split into calls and whatever else is in a batch. kept_bytes: of the caches in `prefixes`.
        """
        self._model, self.deterministic, self.prefixes = model, deterministic, PrefixStore(kept_bytes)
        self._compiled = None
        if importlib.util.find_spec("numba") is None:
            self.plan = plan
            return
        from .compiled import CompiledPlan  # which imports Numba

        self.plan = with_interleaved(plan)
        self._compiled = CompiledPlan(self.plan)

    @classmethod
    def of(cls, model: CausalTransformer, **options: Any) -> Engine:
        """One with the weights of a Module, which it shares."""
        return cls(model, plan_decoding(model, module_matrices(model)), **options)

    @property
    def config(self) -> Any:
        """The model's settings."""
        return self._model.config

    @property
    def architecture(self) -> str:
        """What config.json calls the class of the model."""
        return self._model.architecture

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end a text; generation stops before them."""
        end = self.config.eos_token_id
        return frozenset([] if end is None else end if isinstance(end, list) else [end])

    @property
    def context(self) -> int:
        """How many tokens a sequence may have."""
        return self.plan.context

    def new_sequence(self, memory: SourceMemory | None = None) -> SequenceCache:
        """An empty cache of one sequence; memory: of the source that it is the target of."""
        return SequenceCache(self.plan, memory)

    def new_cache(self, batch: int) -> DecodeCache:
        """Empty caches for `batch` sequences of one length."""
        return DecodeCache([self.new_sequence() for _ in range(batch)])

    def last_logits(self, ids: np.ndarray, cache: DecodeCache | None = None, count: int = 1) -> np.ndarray:
        """The logits (B, count, V) after each of the last `count` of ids (B, T), which follow those in the cache."""
        ids, whole = np.asarray(ids), 0
        cache = cache or self.new_cache(len(ids))
        caches, end = cache.sequences, cache.length + ids.shape[1]
        if end > self.context:
            raise ValueError(f"{end} tokens do not fit into a context of {self.context}")
        if ids.shape[1] == 1 and self._compiled is not None:
            return self.step(ids[:, -1], caches)[:, None]
        if self.deterministic or (self._compiled is not None and ids.size == ids.shape[1] <= TOGETHER):
            return np.stack([self._read(row, cache, count) for row, cache in zip(ids, caches, strict=True)])
        while ids.shape[1] - whole > max(AT_ONCE, count):
            step = min(AT_ONCE, ids.shape[1] - whole - count)
            run_by_kernels(self.plan, ids[:, whole : whole + step], caches, 1)
            whole += step
        return run_by_kernels(self.plan, ids[:, whole:], caches, count)

    def _read(self, ids: np.ndarray, sequence: SequenceCache, count: int) -> np.ndarray:
        """The next tokens (T,) of a sequence, to the logits (count, V) after the last; the bits of one by one."""
        found, together = [], 1 if self._compiled is None else TOGETHER
        for start in range(0, len(ids), together):
            part = ids[start : start + together]
            wanted = max(0, start + len(part) - max(start, len(ids) - count))
            if self._compiled is None:
                found.append(run_by_kernels(self.plan, part[None], [sequence], 1)[0, 1 - wanted :])
            else:
                found.append(self._compiled.read(part, sequence, wanted))
        return np.concatenate(found)

    def step(self, ids: Sequence[int] | np.ndarray, sequences: Sequence[SequenceCache]) -> np.ndarray:
        """The next token (B,) of sequences of any lengths, to the logits (B, V) after it.

        What a sequence gets does not depend on the others: the same bits as alone.
        """
        ids = np.asarray(ids)
        if self._compiled is None:
            return np.concatenate(
                [run_by_kernels(self.plan, ids[i : i + 1, None], [s], 1)[0] for i, s in enumerate(sequences)]
            )
        return self._compiled.run(ids, list(sequences))


def open_engine(source: ModelSource, **options: Any) -> Engine | None:
    """The engine of a model in a file, or None where its family has no plan: a recurrent one, or no decoder.

    options: as `Engine` takes them.
    """
    if not issubclass(source.family, CausalTransformer):
        return None
    model = source.empty_model()
    if not isinstance(model, CausalTransformer):
        return None
    return Engine(model, plan_decoding(model, file_matrices(source, model)), **options)
