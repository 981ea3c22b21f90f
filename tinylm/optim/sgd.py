"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup

__all__ = ["SGD"]


class SGD(Optimizer):
    """g <- g + weight_decay p;   b <- momentum b + g, b = g at first;   p <- p - lr b; nesterov: lr (g + momentum b).

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"; the form is
    PyTorch's.
    """

    buffer_names = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum is {momentum}, expected 0 <= momentum < 1")
        super().__init__(parameters)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        gradient = group.gradients * group.data.dtype.type(scale)
        gradient += group.weight_decay * group.data
        velocity = buffers["momentum"]
        velocity *= self.momentum
        velocity += gradient
        if self.nesterov:
            gradient += self.momentum * velocity
        group.data -= learning_rate * (gradient if self.nesterov else velocity)
