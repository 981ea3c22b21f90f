"""The GRU layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F

from .initializer import Initializer
from .module import Module
from .recurrent import Recurrent

__all__ = ["GRU"]


class _Direction(Module):
    """The weights of one layer in one direction; all uniform between -1/sqrt(H) and 1/sqrt(H), as in PyTorch."""

    def __init__(self, inputs: int, hidden: int, init: Initializer, reset_after: bool):
        bound = 1 / math.sqrt(hidden)
        self.w_input = init.uniform(3 * hidden, inputs, bound=bound)
        self.w_hidden = init.uniform(3 * hidden, hidden, bound=bound)
        self.b_input = init.uniform(3 * hidden, bound=bound)
        self.b_hidden = init.uniform(3 * hidden, bound=bound)
        self.reset_after = reset_after

    def forward(self, x: Tensor, state: tuple[Tensor], lengths: np.ndarray | None) -> tuple[Tensor, ...]:
        weights = self.w_input, self.w_hidden, self.b_input, self.b_hidden
        return F.gru(x, *weights, *state, lengths, reset_after=self.reset_after)


class GRU(Recurrent):
    """Gated recurrent units over (B, T, I), to (B, T, H), or (B, T, 2H) in both directions; see `Recurrent`.

    The state is a list of tuples (h,). Gates stand in the order r, z, n. reset_after: whether the reset gate acts
    after the recurrent product, as in PyTorch, cuDNN and Keras, or before it, as in the paper.
    Source: Cho et al. 2014, arXiv:1406.1078.
    """

    states = 1

    def __init__(self, inputs: int, hidden: int, init: Initializer, *, reset_after: bool = True, **stacking: Any):
        super().__init__(lambda size: _Direction(size, hidden, init, reset_after), inputs, hidden, **stacking)
