"""Layer normalisation in Numba: a row is read from memory once and stays in the cache for its passes.

The backward sums dweight and dbias over all rows. Each of a fixed number of parts of the rows has its own
sums, added up at the end in their order, so that the result does not depend on the number of threads.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..simd import maximum
from .reference import layer_norm, layer_norm_backward

ZERO, ONE = np.float32(0), np.float32(1)
# Parts of the rows in the backward: enough for the cores of a desktop, of enough rows to outweigh their sums.
PARTS, ROWS = 16, 64


@jit(forceinline=True)
def _row(x, weight, bias, eps, y):
    count = np.float32(len(x))
    total = ZERO
    for j in range(len(x)):
        total += x[j]
    mean = total / count
    squares, rest = ZERO, ZERO
    for j in range(len(x)):
        centred = x[j] - mean
        squares += centred * centred
        rest += centred
    # What the rounding of the first mean left: it matters where the mean is large beside the deviations from it.
    rest /= count
    mean += rest
    variance = maximum(ZERO, squares / count - rest * rest)
    rstd = ONE / np.sqrt(variance + np.float32(eps))
    for j in range(len(x)):
        y[j] = (x[j] - mean) * rstd * weight[j] + bias[j]
    return mean, rstd


@Twins
def _layer_norm(x, weight, bias, eps, y, mean, rstd):
    for i in prange(len(x)):
        mean[i], rstd[i] = _row(x[i], weight, bias, eps, y[i])


@layer_norm.implement("numba", dtypes=("float32",))
def layer_norm_numba(x, weight, bias, *, eps=1e-5, out=None):
    y = room_for(out, x.shape)
    mean, rstd = np.empty((2, x.size // x.shape[-1]), np.float32)
    _layer_norm(x.size, as_rows(x), as_carray(weight), as_carray(bias), eps, as_rows(y), mean, rstd)
    return deliver(y, out), mean.reshape(x.shape[:-1]), rstd.reshape(x.shape[:-1])


@jit(forceinline=True)
def _row_backward(dy, x, weight, mean, rstd, dx, dweight, dbias):
    sum_d, sum_dn = ZERO, ZERO
    for j in range(len(x)):
        normed = (x[j] - mean) * rstd
        d = dy[j] * weight[j]
        sum_d += d
        sum_dn += d * normed
        dweight[j] += dy[j] * normed
        dbias[j] += dy[j]
    mean_d, mean_dn = sum_d / np.float32(len(x)), sum_dn / np.float32(len(x))
    for j in range(len(x)):
        normed = (x[j] - mean) * rstd
        dx[j] = rstd * (dy[j] * weight[j] - mean_d - normed * mean_dn)


@Twins
def _layer_norm_backward(dy, x, weight, mean, rstd, dx, sums):
    parts = len(sums)
    for part in prange(parts):
        for i in range(part * len(x) // parts, (part + 1) * len(x) // parts):
            _row_backward(dy[i], x[i], weight, mean[i], rstd[i], dx[i], sums[part, 0], sums[part, 1])


@layer_norm_backward.implement("numba", dtypes=("float32",))
def layer_norm_backward_numba(dy, x, weight, mean, rstd, *, out=None):
    dx = room_for(out, x.shape)
    rows = as_rows(x)
    sums = np.zeros((min(PARTS, 1 + len(rows) // ROWS), 2, x.shape[-1]), np.float32)
    _layer_norm_backward(
        x.size,
        as_rows(dy),
        rows,
        as_carray(weight),
        as_carray(mean).reshape(-1),
        as_carray(rstd).reshape(-1),
        as_rows(dx),
        sums,
    )
    dweight, dbias = sums.sum(axis=0)
    return deliver(dx, out), dweight, dbias
