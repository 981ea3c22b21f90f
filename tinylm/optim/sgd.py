"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .elementwise import ElementwiseOptimizer
from .optimizer import ParameterGroup, check_shares

__all__ = ["SGD"]


class SGD(ElementwiseOptimizer):
    """b <- momentum b + g, b = g at first;   p <- p - lr b; nesterov: p <- p - lr (g + momentum b).

    The form is PyTorch's. rate_in_velocity: b collects lr g instead of g, as in the source and in Keras, which differs
    where the rate changes. decoupled: see `ElementwiseOptimizer`.
    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning", eq. 1 to 4.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        rate_in_velocity: bool = False,
        decoupled: bool = False,
    ):
        check_shares(self, momentum=momentum)
        if momentum:
            self.buffer_names = (*self.buffer_names, "momentum")
        super().__init__(parameters, decoupled=decoupled)
        self.momentum, self.nesterov, self.rate_in_velocity = momentum, nesterov, rate_in_velocity

    def _update_block(
        self, p: np.ndarray, g: np.ndarray, learning_rate: float, buffers: Mapping[str, np.ndarray]
    ) -> None:
        if self.rate_in_velocity:
            g *= learning_rate
        if self.momentum:
            b = buffers["momentum"]
            b *= self.momentum
            b += g
            if self.nesterov:
                g += self.momentum * b
            else:
                g[...] = b
        if not self.rate_in_velocity:
            g *= learning_rate
        p -= g
