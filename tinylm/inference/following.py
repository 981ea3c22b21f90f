"""The engine of a Module: as fast as that of a file, and with whatever weights the Module has by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinylm.models import CausalTransformer, EncoderDecoder
from tinylm.nn import LowRank, Module

from .engine import Engine
from .target_engine import TargetEngine

__all__ = ["ModuleEngine"]

# Parameters of fewer numbers are compared with what they were: a plan may hold what is computed from them.
SMALL = 1 << 14


class ModuleEngine:
    """Gives the engine of a Module, made anew when the Module is no longer what it was.

    Large weights are the Module's own arrays: what is written into them is seen at once. Where another array takes
    their place, or a small one (a norm, a bias) has changed, the next request sees it.
    """

    def __init__(self, model: Module, **options: Any):
        """options: as `Engine` takes them."""
        self._model, self._options = model, options
        self._engine: Engine | TargetEngine | None = None
        self._seen: list[tuple[np.ndarray, np.ndarray | None]] = []

    def get(self) -> Engine | TargetEngine | None:
        """The engine, or None where the family has none, or the weights are of a kind that it could not follow."""
        arrays = [parameter.data for parameter in self._model.parameters()]
        if any("forward" in vars(module) for _, module in self._model.named_modules()):
            return None  # somebody watches it, or has it do something else
        known = len(arrays) == len(self._seen) and all(map(_is_still, arrays, self._seen))
        if not known:
            self._engine = _engine_of(self._model, self._options) if _can_be_followed(self._model, arrays) else None
            self._seen = [(array, array.copy() if array.size < SMALL else None) for array in arrays]
        return self._engine


def _is_still(array: np.ndarray, seen: tuple[np.ndarray, np.ndarray | None]) -> bool:
    return array is seen[0] and (seen[1] is None or np.array_equal(array, seen[1]))


def _can_be_followed(model: Module, arrays: list[np.ndarray]) -> bool:
    """Whether an engine would share all large arrays, or they cannot be written to."""
    if any(isinstance(module, LowRank) for _, module in model.named_modules()):
        return False
    shared = (array.flags.c_contiguous or not array.flags.writeable or array.size < SMALL for array in arrays)
    return all(array.dtype == np.float32 for array in arrays) and all(shared)


def _engine_of(model: Any, options: Mapping[str, Any]) -> Engine | TargetEngine | None:
    if isinstance(model, EncoderDecoder):
        return TargetEngine.of(model)
    return Engine.of(model, **options) if isinstance(model, CausalTransformer) else None
