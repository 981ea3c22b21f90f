"""Root mean square normalisation in Numba: a row is read from memory once and stays in the cache for its passes.

The backward sums dweight over all rows. Each of a fixed number of parts of the rows has its own sum, added up at the
end in their order, so that the result does not depend on the number of threads.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from .reference import rms_norm, rms_norm_backward

ZERO, ONE = np.float32(0), np.float32(1)
# Parts of the rows in the backward: enough for the cores of a desktop, of enough rows to outweigh their sums.
PARTS, ROWS = 16, 64


@jit(forceinline=True)
def _row(x, weight, eps, y):
    squares = ZERO
    for j in range(len(x)):
        squares += x[j] * x[j]
    rstd = ONE / np.sqrt(squares / np.float32(len(x)) + np.float32(eps))
    for j in range(len(x)):
        y[j] = x[j] * rstd * weight[j]
    return rstd


@Twins
def _rms_norm(x, weight, eps, y, rstd):
    for i in prange(len(x)):
        rstd[i] = _row(x[i], weight, eps, y[i])


@rms_norm.implement("numba", dtypes=("float32",))
def rms_norm_numba(x, weight, *, eps=1e-5, out=None):
    y = room_for(out, x.shape)
    rstd = np.empty(x.shape[:-1], np.float32)
    _rms_norm(x.size, as_rows(x), as_carray(weight), eps, as_rows(y), rstd.reshape(-1))
    return deliver(y, out), rstd


@jit(forceinline=True)
def _row_backward(dy, x, weight, rstd, dx, dweight):
    sum_dn = ZERO
    for j in range(len(x)):
        normed = x[j] * rstd
        sum_dn += dy[j] * weight[j] * normed
        dweight[j] += dy[j] * normed
    mean_dn = sum_dn / np.float32(len(x))
    for j in range(len(x)):
        dx[j] = rstd * (dy[j] * weight[j] - x[j] * rstd * mean_dn)


@Twins
def _rms_norm_backward(dy, x, weight, rstd, dx, sums):
    parts = len(sums)
    for part in prange(parts):
        for i in range(part * len(x) // parts, (part + 1) * len(x) // parts):
            _row_backward(dy[i], x[i], weight, rstd[i], dx[i], sums[part])


@rms_norm_backward.implement("numba", dtypes=("float32",))
def rms_norm_backward_numba(dy, x, weight, rstd, *, out=None):
    dx = room_for(out, x.shape)
    rows = as_rows(x)
    sums = np.zeros((min(PARTS, 1 + len(rows) // ROWS), x.shape[-1]), np.float32)
    _rms_norm_backward(x.size, as_rows(dy), rows, as_carray(weight), as_carray(rstd).reshape(-1), as_rows(dx), sums)
    return deliver(dx, out), sums.sum(axis=0)
