"""What recurrent layers share: several layers deep, in one or both directions, over rows of any lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .dropout import Dropout
from .module import Module

__all__ = ["Recurrent", "RecurrentState"]

# For every layer, and where bidirectional for every layer and direction, forward first: (h, c) of an LSTM, (h,) of a
# GRU, (B, H) each.
RecurrentState = list[tuple[Tensor, ...]]


class Recurrent(Module):
    """Layers of a recurrence over (B, T, I), to (B, T, H), or (B, T, 2H) in both directions.

    direction: makes the weights of one layer in one direction from the size of its input; called with x, the arrays
    of its state and lengths, it returns the outputs and the arrays of its last state, of which there are `states`.
    layers: how many stand on each other. dropout: between them; variational: with one mask for all steps.
    """

    states: int

    def __init__(
        self,
        direction: Callable[[int], Any],
        inputs: int,
        hidden: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        site: int = 0,
    ):
        self.hidden, self.ways = hidden, 2 if bidirectional else 1
        self.directions = [
            direction(self.ways * hidden if layer else inputs) for layer in range(layers) for _ in range(self.ways)
        ]
        self.dropouts = [Dropout(dropout, site + layer, variational=variational) for layer in range(layers - 1)]

    def initial_state(self, batch: int) -> RecurrentState:
        """Zeros for every layer and direction."""
        zeros = Tensor(np.zeros((batch, self.hidden), self.directions[0].w_input.dtype))
        return [(zeros,) * self.states for _ in self.directions]

    def forward(
        self, x: Tensor, state: RecurrentState | None = None, lengths: np.ndarray | None = None
    ) -> tuple[Tensor, RecurrentState]:
        """Returns the outputs and the last state. lengths: (B,), where rows are padded at their end."""
        state = self.initial_state(x.shape[0]) if state is None else state
        last: RecurrentState = []
        for layer in range(len(self.dropouts) + 1):
            if layer:
                x = self.dropouts[layer - 1](x)
            outputs = []
            for way in range(self.ways):
                number = layer * self.ways + way
                sequence = _reverse(x, lengths) if way else x
                y, *end = self.directions[number](sequence, state[number], lengths)
                outputs.append(_reverse(y, lengths) if way else y)
                last.append(tuple(end))
            x = F.concatenate(outputs, axis=-1) if self.ways == 2 else outputs[0]
        return x, last


def _reverse(x: Tensor, lengths: np.ndarray | None) -> Tensor:
    """Each row backwards over its own length, the padding left where it is."""
    if lengths is None:
        return x[:, ::-1]
    B, T = x.shape[:2]
    steps = np.arange(T)[None, :]
    source = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (B, T)
    return x[np.arange(B)[:, None], source]
