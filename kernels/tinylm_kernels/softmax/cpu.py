"""Softmax in Numba: a row is read from memory once and stays in the cache for its three passes.

The passes (maximum; exp and its sum; division) are simple loops that LLVM vectorises; rows go to the threads.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_rows, deliver, jit, room_for
from ..simd import exp, maximum
from .reference import softmax, softmax_backward

ZERO, ONE = np.float32(0), np.float32(1)
MINUS_INFINITY = np.float32(-np.inf)


@jit(forceinline=True)
def _row(x, y):
    peak = MINUS_INFINITY
    for j in range(len(x)):
        peak = maximum(peak, x[j])
    if peak == MINUS_INFINITY:  # a fully masked row: exp(-inf - 0) = 0 instead of NaN
        peak = ZERO
    total = ZERO
    for j in range(len(x)):
        e = exp(x[j] - peak)
        y[j] = e
        total += e
    factor = ONE / total if total != ZERO else ONE
    for j in range(len(y)):
        y[j] *= factor


@Twins
def _softmax(x, y):
    for i in prange(len(x)):
        _row(x[i], y[i])


@softmax.implement("numba", dtypes=("float32",))
def softmax_numba(x, *, out=None):
    y = room_for(out, x.shape)
    _softmax(x.size, as_rows(x), as_rows(y))
    return deliver(y, out)


@jit(forceinline=True)
def _row_backward(dy, y, dx):
    dot = ZERO
    for j in range(len(y)):
        dot += dy[j] * y[j]
    for j in range(len(y)):
        dx[j] = y[j] * (dy[j] - dot)


@Twins
def _softmax_backward(dy, y, dx):
    for i in prange(len(y)):
        _row_backward(dy[i], y[i], dx[i])


@softmax_backward.implement("numba", dtypes=("float32",))
def softmax_backward_numba(dy, y, *, out=None):
    dx = room_for(out, y.shape)
    _softmax_backward(y.size, as_rows(dy), as_rows(y), as_rows(dx))
    return deliver(dx, out)
