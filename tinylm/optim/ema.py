"""Running means of weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from tinylm.errors import TinylmError

from .elementwise import blocks
from .optimizer import ParameterGroup

__all__ = ["EMA"]


class EMA:
    """average <- d average + (1 - d) weight, with d = min(decay, (1 + t) / (10 + t)) at the update t, from 0.

    An exponential moving average of all weights in the groups of an optimizer, which evaluates better than the last
    weights while the learning rate is high. It begins as a copy; with warmup=False d is the decay from the start.
    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the warm-up is
    TensorFlow's.
    """

    def __init__(self, groups: Sequence[ParameterGroup], decay: float, *, warmup: bool = True):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay is {decay}, expected 0 <= decay < 1")
        self.groups, self.decay, self.warmup = list(groups), decay, warmup
        self.averages = [group.data.copy() for group in self.groups]
        self.updates = 0

    def update(self) -> None:
        """Take in the weights as they are: one pass over memory."""
        warm = (1 + self.updates) / (10 + self.updates)
        share = 1 - (min(self.decay, warm) if self.warmup else self.decay)
        for group, average in zip(self.groups, self.averages, strict=True):
            for block in blocks(average.size):
                step = group.data[block] - average[block]
                step *= share
                average[block] += step
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averages as its weights inside the block, and its own bits again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for group, average in zip(self.groups, self.averages, strict=True):
            for block in blocks(average.size):
                weights = group.data[block].copy()
                group.data[block] = average[block]
                average[block] = weights

    def state_dict(self) -> dict[str, np.ndarray]:
        """The count of updates and the averages, a group each: the arrays themselves, not copies."""
        return {"updates": np.array([self.updates])} | {f"{i}.average": a for i, a in enumerate(self.averages)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state saved from an average over the same groups."""
        expected = {name: array.shape for name, array in self.state_dict().items()}
        received = {name: array.shape for name, array in state.items()}
        if expected != received:
            raise TinylmError(f"EMA: the saved state does not fit: expected {expected}, received {received}")
        self.updates = int(state["updates"][0])
        for number, average in enumerate(self.averages):
            average[...] = state[f"{number}.average"]
