"""Adafactor: Adam without a first moment, whose second moment of a matrix takes a row and a column."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter

from .optimizer import Optimizer, ParameterGroup, views

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """For every matrix p of shape (..., N, C), at step t, from 1:

        beta <- 1 - t^beta2_decay
        r <- beta r + (1 - beta) mean over C of g^2             (..., N)
        c <- beta c + (1 - beta) mean over N of g^2             (..., C)
        u <- g / sqrt(max(r c / mean over N of r, eps1^2))      (..., N, C): r c is the outer product
        u <- u / max(1, rms(u) / clip)
        p <- p - lr weight_decay p - max(eps2, rms(p)) min(lr, 1 / sqrt(t)) u

    A vector keeps a second moment of its own shape. The learning rate is relative to the size of the parameter.
    eps1: the dtype's eps where None. The form is PyTorch's; the source adds eps1 to g^2.
    Source: Shazeer and Stern 2018, arXiv:1804.04235, algorithms 4 and 5.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterGroup] | Iterable[Parameter],
        *,
        beta2_decay: float = -0.8,
        eps1: float | None = None,
        eps2: float = 1e-3,
        clip: float = 1.0,
    ):
        if not beta2_decay <= 0:
            raise ValueError(f"Adafactor: beta2_decay is {beta2_decay}, expected at most 0")
        super().__init__(parameters)
        self.beta2_decay, self.eps1, self.eps2, self.clip = beta2_decay, eps1, eps2, clip

    def _new_buffers(self, group: ParameterGroup) -> dict[str, np.ndarray]:
        rows, columns = (sum(map(math.prod, shapes)) for shapes in _moment_shapes(group))
        return {"rows": np.zeros(rows, group.data.dtype), "columns": np.zeros(columns, group.data.dtype)}

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        row_shapes, column_shapes = _moment_shapes(group)
        rows, columns = views(buffers["rows"], row_shapes), views(buffers["columns"], column_shapes)
        eps = float(np.finfo(group.data.dtype).eps) if self.eps1 is None else self.eps1
        for parameter, r, c in zip(group.parameters, rows, columns, strict=True):
            p, g = parameter.data, parameter.gradient_buffer
            size = max(self.eps2, _rms(p))
            p *= 1 - learning_rate * group.weight_decay
            u = self._root_of_moment(g, r, c, scale, eps)
            np.maximum(u, eps, out=u)
            np.divide(g, u, out=u)
            u *= scale * size * min(learning_rate, 1 / math.sqrt(self.steps)) / max(1.0, scale * _rms(u) / self.clip)
            p -= u

    def _root_of_moment(self, g: np.ndarray, r: np.ndarray, c: np.ndarray, scale: float, eps: float) -> np.ndarray:
        """Bring r and c up to date; return a new array of the shape of g, the root of its second moment."""
        gain = self.steps**self.beta2_decay
        r *= 1 - gain
        if g.ndim < 2:
            r += gain * scale**2 * np.square(g)
            return np.sqrt(r)
        r += gain * scale**2 / g.shape[-1] * np.einsum("...ij,...ij->...i", g, g)
        c *= 1 - gain
        c += gain * scale**2 / g.shape[-2] * np.einsum("...ij,...ij->...j", g, g)
        share = r / np.maximum(r.mean(axis=-1, keepdims=True), eps)
        return np.sqrt(share)[..., :, None] * np.sqrt(c)[..., None, :]  # (..., N, C)


def _moment_shapes(group: ParameterGroup) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Of the rows and the columns of every parameter; a vector has all of its moment in the rows."""
    rows = [shape[:-1] if len(shape) > 1 else shape for shape in group.shapes]
    columns = [(*shape[:-2], shape[-1]) if len(shape) > 1 else (0,) for shape in group.shapes]
    return rows, columns


def _rms(x: np.ndarray) -> float:
    return math.sqrt(K.squared_norm(x) / max(x.size, 1))
