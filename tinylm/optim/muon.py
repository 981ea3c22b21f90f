"""Muon: the momentum of a matrix, made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup, check_shares, views

__all__ = ["Muon", "orthogonalize"]

# Of the quintic a x + b x^3 + c x^5, chosen by the author for a steep slope at 0: five rounds take every singular value
# from 0.01 to 1 into 0.7 to 1.2, which serves as well as 1.
COEFFICIENTS = 3.4445, -4.7750, 2.0315

# What multiplies the rate of a matrix (outputs, inputs), so that one rate suits all shapes. "original" is the author's:
# the spectral norm of the change grows like sqrt(outputs / inputs). "match_rms_adamw" gives the change the root mean
# square of AdamW's, so that AdamW's rate and decay serve: Liu et al. 2025, arXiv:2502.16982, section 2.2.
ADJUSTMENTS: dict[str, Callable[[int, int], float]] = {
    "original": lambda outputs, inputs: math.sqrt(max(1.0, outputs / inputs)),
    "match_rms_adamw": lambda outputs, inputs: 0.2 * math.sqrt(max(outputs, inputs)),
}


class Muon(Optimizer):
    """b <- momentum b + (1 - momentum) g;   p <- p - lr weight_decay p - lr adjust(shape) orthogonalize(b).

    nesterov: (1 - momentum) g + momentum b instead of b. For the matrices inside a network; embeddings, the output
    projection and vectors are AdamW's (`tinylm.optim.muon_with_adamw`). adjust: a name in ADJUSTMENTS.
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/
    """

    buffer_names = ("momentum",)

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        adjust: str = "match_rms_adamw",
        rounds: int = 5,
    ):
        check_shares(self, momentum=momentum)
        if adjust not in ADJUSTMENTS:
            raise ValueError(f"Muon: adjust is {adjust!r}, expected one of {', '.join(ADJUSTMENTS)}")
        super().__init__(parameters)
        for shape in (shape for group in self.groups for shape in group.shapes):
            if len(shape) != 2:
                raise ValueError(f"Muon: a parameter has shape {shape}, expected matrices; the others are AdamW's")
        self.momentum, self.nesterov, self.adjust, self.rounds = momentum, nesterov, ADJUSTMENTS[adjust], rounds

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        for parameter, b in zip(group.parameters, views(buffers["momentum"], group.shapes), strict=True):
            p, g = parameter.data, parameter.gradient_buffer * ((1 - self.momentum) * scale)
            b *= self.momentum
            b += g
            if self.nesterov:
                g += self.momentum * b
            else:
                g[...] = b
            p *= 1 - learning_rate * group.weight_decay
            change = orthogonalize(g, rounds=self.rounds)
            change *= learning_rate * self.adjust(*p.shape)
            p -= change


def orthogonalize(x: np.ndarray, *, rounds: int = 5) -> np.ndarray:
    """About U V^T for a matrix x = U S V^T: its singular values are brought near 1, its directions stay.

    x <- a x + (b (x x^T) + c (x x^T)^2) x, a Newton-Schulz iteration, from x divided by its Frobenius norm.
    Returns a new array; zeros give zeros.
    """
    a, b, c = COEFFICIENTS
    is_tall = x.shape[0] > x.shape[1]
    wide = x.T if is_tall else x  # the smaller of its two products with itself
    x = np.divide(wide, max(math.sqrt(K.squared_norm(x)), 1e-7), order="C")
    for _ in range(rounds):
        gram = K.linear(x, x)  # x x^T, which is its own transpose
        square = K.linear(gram, gram)
        gram *= b
        square *= c
        gram += square
        change = K.linear_backward_input(gram, x)
        x *= a
        x += change
    return x.T if is_tall else x
