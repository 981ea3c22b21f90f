"""The LSTM layer: several layers deep, in one or both directions."""

from __future__ import annotations

import math

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .dropout import Dropout
from .initializer import Initializer
from .module import Module

__all__ = ["LSTM", "LSTMState"]

LSTMState = list[tuple[Tensor, Tensor]]


class _Direction(Module):
    """The weights of one layer in one direction; all uniform between -1/sqrt(H) and 1/sqrt(H), as in PyTorch."""

    def __init__(self, inputs: int, hidden: int, init: Initializer):
        bound = 1 / math.sqrt(hidden)
        self.w_input = init.uniform(4 * hidden, inputs, bound=bound)
        self.w_hidden = init.uniform(4 * hidden, hidden, bound=bound)
        self.bias = init.uniform(4 * hidden, bound=bound)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor], lengths: np.ndarray | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return F.lstm(x, self.w_input, self.w_hidden, self.bias, *state, lengths)


class LSTM(Module):
    """Long short-term memory over (B, T, I), to (B, T, H), or (B, T, 2H) in both directions.

    layers: how many stand on each other, with dropout between them. The state is a list of pairs (h, c), (B, H)
    each, one for every layer, and where bidirectional one for every layer and direction, forward first. Gates stand in
    the order i, f, g, o. Source: Hochreiter and Schmidhuber 1997; Graves 2013, arXiv:1308.0850.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        init: Initializer,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        site: int = 0,
    ):
        self.hidden, self.bidirectional = hidden, bidirectional
        ways = 2 if bidirectional else 1
        self.directions = [
            _Direction(inputs if layer == 0 else ways * hidden, hidden, init)
            for layer in range(layers)
            for _ in range(ways)
        ]
        self.dropouts = [Dropout(dropout, site + layer) for layer in range(layers - 1)]

    def initial_state(self, batch: int) -> LSTMState:
        """Zeros for every layer and direction."""
        zeros = np.zeros((batch, self.hidden), self.directions[0].bias.dtype)
        return [(Tensor(zeros), Tensor(zeros)) for _ in self.directions]

    def forward(
        self, x: Tensor, state: LSTMState | None = None, lengths: np.ndarray | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Returns the outputs and the last state. lengths: (B,), where rows are padded at their end."""
        state = self.initial_state(x.shape[0]) if state is None else state
        last: LSTMState = []
        ways = 2 if self.bidirectional else 1
        for layer in range(len(self.directions) // ways):
            if layer:
                x = self.dropouts[layer - 1](x)
            outputs = []
            for way in range(ways):
                number = layer * ways + way
                sequence = _reverse(x, lengths) if way else x
                y, h, c = self.directions[number](sequence, state[number], lengths)
                outputs.append(_reverse(y, lengths) if way else y)
                last.append((h, c))
            x = F.concatenate(outputs, axis=-1) if self.bidirectional else outputs[0]
        return x, last


def _reverse(x: Tensor, lengths: np.ndarray | None) -> Tensor:
    """Each row backwards over its own length, the padding left where it is."""
    if lengths is None:
        return x[:, ::-1]
    B, T = x.shape[:2]
    steps = np.arange(T)[None, :]
    source = np.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (B, T)
    return x[np.arange(B)[:, None], source]
