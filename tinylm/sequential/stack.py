"""The module that a Sequential model builds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.nn import Module

from .layer import BuiltLayer

__all__ = ["Stack"]


class Stack(Module):
    """Layers one after the other."""

    def __init__(self, layers: Sequence[BuiltLayer]):
        self.layers = list(layers)

    def forward(self, x: np.ndarray, before_activation: bool = False) -> tuple[Tensor, np.ndarray | None]:
        """The output of the last layer, or what its activation is applied to, and the mask that came through."""
        value: Any = x if x.dtype.kind in "iu" else Tensor(x)
        mask = None
        for number, layer in enumerate(self.layers):
            is_last = before_activation and number == len(self.layers) - 1
            result = layer.compute(value, mask) if is_last else layer(value, mask)
            mask = layer.next_mask(value, mask)
            value = result
        return value, mask

    @property
    def activation(self) -> str:
        """Of the last layer."""
        return self.layers[-1].activation
