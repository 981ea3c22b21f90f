"""Differentiable functions that work element by element, with NumPy's broadcasting."""

from __future__ import annotations

from functools import partial

import numpy as np

from tinylm_kernels import array_module

from .tensor import differentiable

__all__ = [
    "absolute",
    "add",
    "divide",
    "exp",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "relu",
    "sigmoid",
    "sqrt",
    "subtract",
    "tanh",
    "where",
]


def unbroadcast(gradient, like):
    """Sum `gradient` over the axes along which an input of the shape of `like` was repeated."""
    shape = np.shape(like)
    if gradient.shape == shape:
        return gradient
    added = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(added)))
    repeated = tuple(axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis] != 1)
    return gradient.sum(axis=repeated, keepdims=True) if repeated else gradient


@differentiable
def add(a, b):
    """a + b."""
    return a + b, lambda dy: (unbroadcast(dy, a), unbroadcast(dy, b))


@differentiable
def subtract(a, b):
    """a - b."""
    return a - b, lambda dy: (unbroadcast(dy, a), lambda out, accumulate: into(out, accumulate, unbroadcast(-dy, b)))


@differentiable
def multiply(a, b):
    """a * b."""
    return a * b, lambda dy: (
        lambda out, accumulate: into(out, accumulate, unbroadcast(dy * b, a)),
        lambda out, accumulate: into(out, accumulate, unbroadcast(dy * a, b)),
    )


@differentiable
def divide(a, b):
    """a / b."""
    y = a / b
    return y, lambda dy: (
        lambda out, accumulate: into(out, accumulate, unbroadcast(dy / b, a)),
        lambda out, accumulate: into(out, accumulate, unbroadcast(-dy * y / b, b)),
    )


@differentiable
def power(x, *, exponent):
    """x ** exponent, for a number as exponent."""
    return x**exponent, lambda dy: (dy * exponent * x ** (exponent - 1),)


@differentiable
def negative(x):
    """-x."""
    return -x, lambda dy: (-dy,)


@differentiable
def exp(x):
    """e ** x."""
    y = array_module(x).exp(x)
    return y, lambda dy: (dy * y,)


@differentiable
def log(x):
    """The natural logarithm."""
    return array_module(x).log(x), lambda dy: (dy / x,)


@differentiable
def sqrt(x):
    """The square root."""
    y = array_module(x).sqrt(x)
    return y, lambda dy: (dy / (2 * y),)


@differentiable
def absolute(x):
    """|x|; its gradient at 0 is 0."""
    xp = array_module(x)
    return xp.abs(x), lambda dy: (dy * xp.sign(x),)


@differentiable
def tanh(x):
    """The hyperbolic tangent."""
    y = array_module(x).tanh(x)
    return y, lambda dy: (dy * (1 - y * y),)


@differentiable
def sigmoid(x):
    """1 / (1 + e ** -x), as (1 + tanh(x / 2)) / 2, which cannot overflow."""
    y = 0.5 * (1 + array_module(x).tanh(0.5 * x))
    return y, lambda dy: (dy * y * (1 - y),)


@differentiable
def relu(x):
    """max(x, 0); its gradient at 0 is 0."""
    again = partial(array_module(x).maximum, x, 0)
    return again(), lambda dy: (dy * (x > 0),), again


@differentiable
def maximum(a, b):
    """The larger of a and b; where they are equal, each gets half of the gradient."""
    xp = array_module(a)
    return xp.maximum(a, b), lambda dy: _to_the_winner(dy, a, b, a > b, a == b)


@differentiable
def minimum(a, b):
    """The smaller of a and b; where they are equal, each gets half of the gradient."""
    xp = array_module(a)
    return xp.minimum(a, b), lambda dy: _to_the_winner(dy, a, b, a < b, a == b)


@differentiable
def where(condition, a, b):
    """a where the condition holds, b elsewhere."""
    xp = array_module(condition)
    return xp.where(condition, a, b), lambda dy: (
        None,
        unbroadcast(xp.where(condition, dy, 0), a),
        unbroadcast(xp.where(condition, 0, dy), b),
    )


def _to_the_winner(dy, a, b, a_wins, tie):
    share = a_wins + 0.5 * tie
    return (
        unbroadcast((dy * share).astype(dy.dtype), a),
        unbroadcast((dy * (1 - share)).astype(dy.dtype), b),
    )


def into(out, accumulate, gradient):
    """Give a gradient that was wanted: where it is asked for, in `out`."""
    if out is None:
        return gradient
    if accumulate:
        out += gradient
    else:
        out[...] = gradient
    return out
