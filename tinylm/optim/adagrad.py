"""AdaGrad: the gradient, divided by the root of the sum of all its squares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .elementwise import ElementwiseOptimizer
from .optimizer import ParameterGroup
from .rmsprop import root

__all__ = ["Adagrad"]


class Adagrad(ElementwiseOptimizer):
    """v <- v + g^2;   p <- p - lr / (1 + (t - 1) rate_decay) g / (sqrt(v) + eps), with t the step, from 1.

    initial: what v begins with. The form is PyTorch's. Keras': eps_inside_root, the denominator is sqrt(v + eps), an
    initial 0.1, and decoupled (see `ElementwiseOptimizer`).
    Source: Duchi, Hazan and Singer 2011, "Adaptive subgradient methods for online learning and stochastic
    optimization".
    """

    buffer_names = ("sum_of_squares",)

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        rate_decay: float = 0.0,
        initial: float = 0.0,
        eps: float = 1e-10,
        eps_inside_root: bool = False,
        decoupled: bool = False,
    ):
        self.rate_decay, self.initial, self.eps, self.eps_inside_root = rate_decay, initial, eps, eps_inside_root
        super().__init__(parameters, decoupled=decoupled)

    def _new_buffers(self, group: ParameterGroup) -> dict[str, np.ndarray]:
        return {"sum_of_squares": np.full_like(group.data, self.initial)}

    def _update_block(
        self, p: np.ndarray, g: np.ndarray, learning_rate: float, buffers: Mapping[str, np.ndarray]
    ) -> None:
        v = buffers["sum_of_squares"]
        v += np.square(g)
        g /= root(v.copy(), self.eps, inside=self.eps_inside_root)
        g *= learning_rate / (1 + (self.steps - 1) * self.rate_decay)
        p -= g
