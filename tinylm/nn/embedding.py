"""The embedding layer."""

from __future__ import annotations

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

    def forward(self, ids: np.ndarray) -> Tensor:
        return F.embedding(self.weight, ids)
