"""Root mean square normalisation in Numba: a row is read from memory once and stays in the cache for its passes.

In the backward a row is summed while the row before, whose sum is known, gets its gradient: no row waits for its own.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..pool import empty
from ..row_sums import add_parts, add_to, clear, parts_of
from ..streaming import put, streams
from ..vectors import LANES, fence, read, splat, total
from .reference import rms_norm, rms_norm_backward

ZERO, ONE = np.float32(0), np.float32(1)


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


@jit
def _row_backward(here, rstd, before, rstd_before, mean, places, dweight, n, streaming):
    """The sum of dy weight normed over a row; meanwhile the row before, whose mean of that is known, gets its dx.

    here, before: where the rows begin, in bytes behind the addresses of places, (dy, x, weight, dx).
    """
    dy, x, weight, dx = places
    sum_, factor, factor_before, share = splat(ZERO), splat(rstd), splat(rstd_before), splat(rstd_before * mean)
    for j in range(0, n, LANES):
        at, left = 4 * j, n - j
        w = read(weight + at, left)
        product = read(dy + here + at, left) * (read(x + here + at, left) * factor)
        sum_ = sum_ + product * w
        add_to(dweight + at, product, left)
        d = read(dy + before + at, left) * w - read(x + before + at, left) * share
        put(dx + before + at, factor_before * d, left, streaming)
    return total(sum_) / np.float32(n)


@Twins
def _rms_norm_backward(dy, x, weight, rstd, dx, sums, streaming):
    rows, n = x.shape
    parts = len(sums) - 1  # and one for what is not to be summed
    places = dy.ctypes.data, x.ctypes.data, weight.ctypes.data, dx.ctypes.data
    sums_at = sums.ctypes.data
    for part in prange(parts):
        first, stop = part * rows // parts, (part + 1) * rows // parts
        dweight, nowhere, mean = sums_at + 4 * n * part, sums_at + 4 * n * parts, ZERO
        clear(dweight, n)
        for i in range(first, stop + 1 if stop > first else stop):  # the last turn writes only, the first in vain
            here, before = min(i, stop - 1), max(i - 1, first)
            target = dweight if i < stop else nowhere
            mean = _row_backward(
                4 * n * here, rstd[here], 4 * n * before, rstd[before], mean, places, target, n, streaming
            )
        if streaming:
            fence()
    add_parts(sums_at, parts, n)


@rms_norm_backward.implement("numba", dtypes=("float32",))
def rms_norm_backward_numba(dy, x, weight, rstd, *, out=None):
    dx = room_for(out, x.shape)
    rows, results = as_rows(x), as_rows(dx)
    sums = empty((parts_of(len(rows)) + 1, x.shape[-1]))
    _rms_norm_backward(
        x.size, as_rows(dy), rows, as_carray(weight), as_carray(rstd).reshape(-1), results, sums, streams(results)
    )
    return deliver(dx, out), sums[0]
