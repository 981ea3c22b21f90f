"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup, check_shares

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square; weight decay joins the gradient.

    The formula is in `tinylm_kernels.adamw`. eps_hat: add eps to the root of the plain second moment instead of the
    corrected one, as Keras does: p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).
    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1; for eps_hat the end of section 2.
    """

    buffer_names = ("first_moment", "second_moment")
    decoupled = False

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        eps_hat: bool = False,
    ):
        check_shares(self, beta1=betas[0], beta2=betas[1])
        super().__init__(parameters)
        self.betas, self.eps, self.eps_hat = betas, eps, eps_hat

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        m, v = buffers["first_moment"], buffers["second_moment"]
        correction = math.sqrt(1 - self.betas[1] ** self.steps) if self.eps_hat else 1.0
        K.adamw(
            group.data,
            group.gradients,
            m,
            v,
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps / correction,
            weight_decay=group.weight_decay,
            step=self.steps,
            decoupled=self.decoupled,
            scale=scale,
            out=(group.data, m, v),
        )


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter itself. Source: Loshchilov and Hutter 2019, arXiv:1711.05101."""

    decoupled = True
