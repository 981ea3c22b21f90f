"""Language modelling over contiguous text: truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.data import ContinuedBatches
from tinylm.errors import TinylmError
from tinylm.models import CausalLanguageModel
from tinylm.models.recurrent import StateCache

from .language_modelling import EVALUATION_CONTEXT, Batch, LanguageModelling
from .text import Source

__all__ = ["ContinuedLanguageModelling"]


class ContinuedLanguageModelling(LanguageModelling):
    """The task in which each row of a step goes on where the row of the step before ended, with its last state.

    Gradients reach no further back than the step; what the model knows of the text before does. The batches are
    functions of (seed, step, row), the state of all rows is what `state_dict` holds. It is validated on long windows.
    Source: Mikolov et al. 2010; Williams and Peng 1990.
    """

    def __init__(self, sources: Sequence[Source], *, seed: int = 0, **settings: Any):
        super().__init__(sources, seed=seed, **settings)
        self.evaluation_context = max(self.context, EVALUATION_CONTEXT)
        (source,) = self.sources
        self._stretches = ContinuedBatches(source.train, batch_size=self.batch_size, context=self.context, seed=seed)
        # Of each layer the arrays of its state, (batch_size, H) each; none before the first step.
        self._state: list[tuple[np.ndarray, ...]] = []

    def batch(self, step: int, rows: slice) -> Batch:
        """ids, targets, the rows, and whether they begin their streams, from a state of zeros."""
        return *self._stretches.train_batch(step, rows), rows, self._stretches.begins(step)

    def loss(self, model: CausalLanguageModel, batch: Batch) -> Tensor:
        ids, targets, rows, begins = batch
        cache = model.new_cache(len(ids))
        if not begins:
            cache.state = [tuple(Tensor(array[rows]) for array in layer) for layer in self._state]
        loss = model.loss(ids, targets, label_smoothing=self.label_smoothing, cache=cache)
        self._keep(cache, rows)
        return loss

    def _keep(self, cache: StateCache, rows: slice) -> None:
        """Write these rows of the state, without its graph."""
        if not self._state:
            self._state = [
                tuple(np.zeros((self.batch_size, *tensor.shape[1:]), tensor.dtype) for tensor in layer)
                for layer in cache.state
            ]
        for arrays, tensors in zip(self._state, cache.state, strict=True):
            for array, tensor in zip(arrays, tensors, strict=True):
                array[rows] = tensor.data

    def state_dict(self) -> dict[str, np.ndarray]:
        return {f"{i}.{j}": array for i, layer in enumerate(self._state) for j, array in enumerate(layer)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        layers: dict[int, dict[int, np.ndarray]] = {}
        for name, array in state.items():
            layer, _, part = name.partition(".")
            layers.setdefault(int(layer), {})[int(part)] = array.copy()
        if not layers or any(len(a) != self.batch_size for parts in layers.values() for a in parts.values()):
            raise TinylmError(f"the checkpoint has no carried state for {self.batch_size} rows")
        self._state = [tuple(layers[i][j] for j in sorted(layers[i])) for i in sorted(layers)]
