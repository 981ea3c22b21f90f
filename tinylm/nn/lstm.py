"""The LSTM layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module
from .recurrent import Recurrent

__all__ = ["LSTM"]


class _Direction(Module):
    """The weights of one layer in one direction; all uniform between -1/sqrt(H) and 1/sqrt(H), as in PyTorch."""

    def __init__(self, inputs: int, hidden: int, init: Initializer, peepholes: bool):
        bound = 1 / math.sqrt(hidden)
        self.w_input = init.uniform(4 * hidden, inputs, bound=bound)
        self.w_hidden = init.uniform(4 * hidden, hidden, bound=bound)
        self.bias = init.uniform(4 * hidden, bound=bound)
        self.peepholes = init.uniform(3 * hidden, bound=bound) if peepholes else None

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor], lengths: np.ndarray | None) -> tuple[Tensor, ...]:
        return F.lstm(x, self.w_input, self.w_hidden, self.bias, *state, lengths, self.peepholes)


class LSTM(Recurrent):
    """Long short-term memory over (B, T, I), to (B, T, H), or (B, T, 2H) in both directions; see `Recurrent`.

    The state is a list of pairs (h, c). Gates stand in the order i, f, g, o. peepholes: whether the gates see c.
    Source: Hochreiter and Schmidhuber 1997; Graves 2013, arXiv:1308.0850.
    """

    states = 2

    def __init__(self, inputs: int, hidden: int, init: Initializer, *, peepholes: bool = False, **stacking: Any):
        super().__init__(lambda size: _Direction(size, hidden, init, peepholes), inputs, hidden, **stacking)
