"""Where the first values of parameters come from."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinylm.autograd import Parameter

__all__ = ["Initializer"]


class Initializer:
    """Makes parameters in the order they are asked for, from one seed and in one dtype.

    seed: None gives zeros everywhere, for a model whose weights are loaded next: it costs neither time nor, since
    the operating system hands out zero pages on first touch, memory.
    """

    def __init__(self, seed: int | None = 0, dtype: Any = np.float32):
        self.dtype = np.dtype(dtype)
        self._rng = None if seed is None else np.random.default_rng(seed)

    def normal(self, *shape: int, std: float) -> Parameter:
        """Gaussian with mean 0."""
        if self._rng is None:
            return self.zeros(*shape)
        # Drawn in float32 for every dtype, so that a float64 twin of a model starts from the same numbers.
        return Parameter((self._rng.standard_normal(shape, dtype=np.float32) * np.float32(std)).astype(self.dtype))

    def uniform(self, *shape: int, bound: float) -> Parameter:
        """Uniform between -bound and bound."""
        if self._rng is None:
            return self.zeros(*shape)
        return Parameter(((self._rng.random(shape, dtype=np.float32) * 2 - 1) * np.float32(bound)).astype(self.dtype))

    def zeros(self, *shape: int) -> Parameter:
        """All 0."""
        return Parameter(np.zeros(shape, self.dtype))

    def ones(self, *shape: int) -> Parameter:
        """All 1."""
        return Parameter(np.ones(shape, self.dtype))
