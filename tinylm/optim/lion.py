"""Lion: the sign of a momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter

from .elementwise import ElementwiseOptimizer
from .optimizer import ParameterGroup, check_shares

__all__ = ["Lion"]


class Lion(ElementwiseOptimizer):
    """p <- p - lr (sign(beta1 m + (1 - beta1) g) + weight_decay p);   m <- beta2 m + (1 - beta2) g.

    Every number moves by lr: rates are 3 to 10 times smaller than AdamW's, weight decay so much larger.
    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    buffer_names = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.99),
    ):
        check_shares(self, beta1=betas[0], beta2=betas[1])
        super().__init__(parameters, decoupled=True)
        self.betas = betas

    def _update_block(
        self, p: np.ndarray, g: np.ndarray, learning_rate: float, buffers: Mapping[str, np.ndarray]
    ) -> None:
        m, (beta1, beta2) = buffers["momentum"], self.betas
        direction = beta1 * m
        direction += (1 - beta1) * g
        np.sign(direction, out=direction)
        direction *= learning_rate
        p -= direction
        m *= beta2
        g *= 1 - beta2
        m += g
