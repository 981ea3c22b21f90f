"""RMSprop: the gradient, divided by a running mean of its magnitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .optimizer import ParameterGroup, check_shares
from .sgd import SGD

__all__ = ["RMSprop"]


class RMSprop(SGD):
    """v <- decay v + (1 - decay) g^2, and a step of SGD with momentum along g / (sqrt(v) + eps).

    centered: the running mean of g, squared, is taken from v under the root: an estimate of the variance. The form is
    PyTorch's. Keras': eps_inside_root, the denominator is sqrt(v + eps), and rate_in_velocity, b collects
    lr g / sqrt(v + eps), and decoupled (see `ElementwiseOptimizer`).
    Source: Hinton 2012, lecture 6e of "Neural networks for machine learning"; centered: Graves 2013, arXiv:1308.0850.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        decay: float = 0.99,
        momentum: float = 0.0,
        centered: bool = False,
        eps: float = 1e-8,
        eps_inside_root: bool = False,
        rate_in_velocity: bool = False,
        decoupled: bool = False,
    ):
        check_shares(self, decay=decay)
        self.buffer_names = ("second_moment", "mean") if centered else ("second_moment",)
        super().__init__(parameters, momentum=momentum, rate_in_velocity=rate_in_velocity, decoupled=decoupled)
        self.decay, self.centered, self.eps, self.eps_inside_root = decay, centered, eps, eps_inside_root

    def _update_block(
        self, p: np.ndarray, g: np.ndarray, learning_rate: float, buffers: Mapping[str, np.ndarray]
    ) -> None:
        v = buffers["second_moment"]
        v *= self.decay
        v += (1 - self.decay) * np.square(g)
        denominator = v.copy()
        if self.centered:
            mean = buffers["mean"]
            mean *= self.decay
            mean += (1 - self.decay) * g
            denominator -= np.square(mean)
            np.maximum(denominator, 0, out=denominator)  # rounding can take it below
        g /= root(denominator, self.eps, inside=self.eps_inside_root)
        super()._update_block(p, g, learning_rate, buffers)


def root(v: np.ndarray, eps: float, *, inside: bool) -> np.ndarray:
    """sqrt(v + eps) if inside, else sqrt(v) + eps, in the memory of v."""
    if inside:
        v += eps
        return np.sqrt(v, out=v)
    np.sqrt(v, out=v)
    v += eps
    return v
