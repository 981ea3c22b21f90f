"""Checking a gradient against the definition of the derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Tensor

__all__ = ["check_gradients"]


def check_gradients(
    function: Callable[..., Any], *inputs: Any, seed: int = 0, step: float = 1e-6, tolerance: float = 1e-6
) -> float:
    """Compare the gradients of `function` with a central difference along one random direction; return the error.

    Whatever the sizes, two evaluations do: for a random direction d and random weights w of the outputs, the
    difference (f(x + step d) - f(x - step d)) / (2 step), with f = sum of w * output, must equal the gradient's
    product with d. inputs: arrays or Tensors; floating ones must be float64 and get gradients, others are passed as
    they are. Raises TypeError for float32 inputs, whose rounding would hide a wrong gradient, and AssertionError,
    with both numbers, where the relative error exceeds the tolerance.
    """
    rng = np.random.default_rng(seed)
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    floating = [hasattr(x, "dtype") and x.dtype.kind == "f" for x in arrays]
    for x, is_floating in zip(arrays, floating, strict=True):
        if is_floating and x.dtype != np.float64:
            raise TypeError(f"check_gradients needs float64 inputs, received {x.dtype}")
    directions = [rng.standard_normal(x.shape) if f else None for x, f in zip(arrays, floating, strict=True)]
    tensors = [Tensor(x, requires_grad=True) if f else x for x, f in zip(arrays, floating, strict=True)]
    outputs = _as_tuple(function(*tensors))
    weights = [rng.standard_normal(y.shape) for y in outputs]
    total = sum(((y * w).sum() for y, w in zip(outputs, weights, strict=True)), start=Tensor(np.zeros(())))
    total.backward()

    def moved(sign: float) -> float:
        at = [x if d is None else x + sign * step * d for x, d in zip(arrays, directions, strict=True)]
        results = _as_tuple(function(*[Tensor(x) if f else x for x, f in zip(at, floating, strict=True)]))
        return sum(float((y.data * w).sum()) for y, w in zip(results, weights, strict=True))

    numeric = (moved(+1) - moved(-1)) / (2 * step)
    pairs = [(t.grad, d) for t, d in zip(tensors, directions, strict=True) if d is not None]
    analytic = sum(float((gradient * d).sum()) for gradient, d in pairs if gradient is not None)
    error = abs(numeric - analytic) / max(1.0, abs(numeric), abs(analytic))
    if not error <= tolerance:
        raise AssertionError(f"the gradient gives {analytic:.9g}, the difference {numeric:.9g}: error {error:.2g}")
    return error


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
