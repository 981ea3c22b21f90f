"""RMSprop: the gradient, divided by a running mean of its magnitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .elementwise import ElementwiseOptimizer
from .optimizer import ParameterGroup, check_shares

__all__ = ["RMSprop"]


class RMSprop(ElementwiseOptimizer):
    """v <- decay v + (1 - decay) g^2;   b <- momentum b + g / (sqrt(v) + eps);   p <- p - lr b.

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
        check_shares(self, decay=decay, momentum=momentum)
        needed = {"second_moment": True, "mean": centered, "momentum": momentum}
        self.buffer_names = tuple(name for name, need in needed.items() if need)
        super().__init__(parameters, decoupled=decoupled)
        self.decay, self.momentum, self.centered = decay, momentum, centered
        self.eps, self.eps_inside_root, self.rate_in_velocity = eps, eps_inside_root, rate_in_velocity

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
        if self.rate_in_velocity:
            g *= learning_rate
        if self.momentum:
            b = buffers["momentum"]
            b *= self.momentum
            b += g
            g[...] = b
        if not self.rate_in_velocity:
            g *= learning_rate
        p -= g


def root(v: np.ndarray, eps: float, *, inside: bool) -> np.ndarray:
    """sqrt(v + eps) if inside, else sqrt(v) + eps, in the memory of v."""
    if inside:
        v += eps
        return np.sqrt(v, out=v)
    np.sqrt(v, out=v)
    v += eps
    return v
