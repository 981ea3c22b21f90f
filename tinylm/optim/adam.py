"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square; weight decay joins the gradient.

    Source: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1. The formula is in `tinylm_kernels.adamw`.
    """

    buffer_names = ("first_moment", "second_moment")
    decoupled = False

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas are {betas}, expected 0 <= beta < 1")
        super().__init__(parameters)
        self.betas, self.eps = betas, eps

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        m, v = buffers["first_moment"], buffers["second_moment"]
        K.adamw(
            group.data,
            group.gradients,
            m,
            v,
            lr=learning_rate,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=group.weight_decay,
            step=self.steps,
            decoupled=self.decoupled,
            scale=scale,
            out=(group.data, m, v),
        )


class AdamW(Adam):
    """Adam whose weight decay acts on the parameter itself. Source: Loshchilov and Hutter 2019, arXiv:1711.05101."""

    decoupled = True
