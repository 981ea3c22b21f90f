"""What decoding keeps of the tokens a model has seen: keys and values in memory that grows without being moved."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import numpy as np

from tinylm.models import Attend, Plan

__all__ = ["DecodeCache", "SequenceCache", "SourceMemory", "cache_places", "source_places"]


def cache_places(plan: Plan) -> list[tuple[int, int]]:
    """Where the keys and the values of each layer begin in the cache of a sequence, in bytes."""
    return _places(plan.attentions, 4 * plan.context)


def source_places(plan: Plan) -> list[tuple[int, int]]:
    """The same in the memory of a source, in bytes for each of its tokens."""
    return _places(plan.sources, 4)


def _places(attentions: Sequence[Attend], size: int) -> list[tuple[int, int]]:
    widths = [step.groups * width for step in attentions for width in (step.key_width, step.value_width)]
    starts = [0, *(size * np.cumsum(widths)).tolist()]
    return list(zip(starts[:-1:2], starts[1::2], strict=True))


class SourceMemory:
    """The keys and values of the tokens of a source, which the target tokens see: read once, and shared by all targets.

    key_values: of each layer what its projection gave, (S, G (D + E)). keys[layer]: (S, G, D), values[layer]: (S, G,
    E).
    """

    def __init__(self, plan: Plan, key_values: Sequence[np.ndarray]):
        self.length, self.keys, self.values = len(key_values[0]), list[np.ndarray](), list[np.ndarray]()
        self._memory = np.empty(sum(both.size for both in key_values), np.float32)
        self.address: int = self._memory.__array_interface__["data"][0]
        at = 0
        for step, both in zip(plan.sources, key_values, strict=True):
            width = step.groups * step.key_width
            for arrays, part in ((self.keys, both[:, :width]), (self.values, both[:, width:])):
                place = self._memory[at : at + part.size].reshape(part.shape)
                place[...] = part
                arrays.append(place.reshape(self.length, step.groups, -1))
                at += part.size


class SequenceCache:
    """The keys and values of all layers for one sequence.

    Address space is reserved for the whole context; the system gives memory to a page when it is first written, so that
    a cache takes what its tokens take, and never moves. keys[layer]: (context, G, D), values[layer]: (context, G, E),
    float32; the first `length` tokens are there. memory: of the source, where the sequence is its target.
    """

    def __init__(self, plan: Plan, memory: SourceMemory | None = None):
        self._plan, self.length, self.context, self.memory = plan, 0, plan.context, memory
        shapes = [
            (plan.context, step.groups, width)
            for step in plan.attentions
            for width in (step.key_width, step.value_width)
        ]
        starts = [place for pair in cache_places(plan) for place in pair]
        self._memory = mmap.mmap(-1, starts[-1] + 4 * math.prod(shapes[-1]))
        arrays = [
            np.frombuffer(self._memory, np.float32, math.prod(shape), start).reshape(shape)
            for shape, start in zip(shapes, starts, strict=True)
        ]
        self.keys, self.values = arrays[::2], arrays[1::2]
        self.address: int = arrays[0].__array_interface__["data"][0]

    def keep(self, length: int) -> bool:
        """Forget all but the first tokens, `length` at most; whether that can be done."""
        self.length = min(self.length, length)
        return True

    @property
    def nbytes(self) -> int:
        """The memory of the tokens that are there."""
        return 4 * self.length * sum(array[0].size for array in (*self.keys, *self.values))

    def copy(self, length: int | None = None) -> SequenceCache:
        """Another one with the same tokens, or the first of them."""
        other = SequenceCache(self._plan, self.memory)
        other.length = self.length if length is None else length
        for mine, theirs in zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True):
            theirs[: other.length] = mine[: other.length]
        return other

    def state(self) -> dict[str, np.ndarray]:
        """The keys and values of the tokens seen, (L, length, G, D or E) each, to be saved."""
        kinds = {"keys": self.keys, "values": self.values}
        return {name: np.stack([layer[: self.length] for layer in layers]) for name, layers in kinds.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave. Raises ValueError where that is of another model."""
        for name, layers in (("keys", self.keys), ("values", self.values)):
            L, length, *shape = state[name].shape
            if len(layers) != L or tuple(shape) != layers[0].shape[1:] or length > self.context:
                raise ValueError(f"the saved {name} have shape {state[name].shape}, which is not of this model")
            for layer, saved in zip(layers, state[name], strict=True):
                layer[:length] = saved
            self.length = length


class DecodeCache:
    """Those of a batch of sequences."""

    def __init__(self, sequences: list[SequenceCache]):
        self.sequences = sequences

    @property
    def length(self) -> int:
        """How many tokens of the longest sequence are there."""
        return max(sequence.length for sequence in self.sequences)

    def joined(self, caches: Sequence[DecodeCache]) -> DecodeCache:
        """One cache of the rows of several, of any lengths; a row that comes again is copied."""
        kept: set[int] = set()
        rows = []
        for row in (row for cache in caches for row in cache.sequences):
            rows.append(row.copy() if id(row) in kept else row)
            kept.add(id(row))
        return DecodeCache(rows)

    def select(self, rows: Sequence[int] | np.ndarray) -> None:
        """Go on with these rows, in this order; one that is named again is copied."""
        self.sequences = self.joined([DecodeCache([self.sequences[row] for row in rows])]).sequences

    def keep(self, length: int) -> bool:
        """As of `SequenceCache`, for all."""
        return all(sequence.keep(length) for sequence in self.sequences)
