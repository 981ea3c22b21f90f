"""The embedding layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module

__all__ = ["Embedding"]


class Embedding(Module):
    """A row of C numbers for each id: (...) integers to (..., C)."""

    def __init__(self, rows: int, channels: int, init: Initializer, *, std: float = 0.02):
        self.weight = init.normal(rows, channels, std=std)
        self._change: Callable[[Tensor], Tensor] | None = None

    def forward(self, ids: np.ndarray) -> Tensor:
        rows = F.embedding(self.weight, ids)
        return rows if self._change is None else self._change(rows)

    @contextmanager
    def changed(self, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Within the block the layer gives what `change` makes of the rows, such as mixtures of examples."""
        self._change = change
        try:
            yield
        finally:
            self._change = None
