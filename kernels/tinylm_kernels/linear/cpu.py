"""The linear layer: NumPy's matrix product, then one pass in Numba for what is added to it.

The BLAS behind `np.matmul` is as fast as a matrix product gets on a CPU. It is called on (N, I) rows, as one
product: given (B, T, I), NumPy would make B small ones. Bias and residual follow in one pass over the result.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from .reference import linear, linear_backward_bias

# Parts of the rows, whose sums are added up at the end in their order: the same for any number of threads; of
# enough rows to outweigh that.
PARTS, ROWS = 16, 64
# An addition costs about a quarter of the work that `Twins` counts an element for.
LIGHT = 4
# Below this many elements NumPy's sum is faster, which needs 1 us less for a call. Measured.
SMALLEST = 1 << 14


@jit(forceinline=True)
def _add_to_row(y, bias, residual):
    for j in range(len(y)):
        y[j] += bias[j] + residual[j]


@Twins
def _add(y, bias, residual):
    for i in prange(len(y)):
        _add_to_row(y[i], bias, residual[i])


@Twins
def _add_bias(y, bias):
    for i in prange(len(y)):
        row = y[i]
        for j in range(len(row)):
            row[j] += bias[j]


@linear.implement("numba", dtypes=("float32",))
def linear_numba(x, weight, bias=None, residual=None, *, out=None):
    shape = (*x.shape[:-1], weight.shape[0])
    taken = out is not None and residual is not None and np.may_share_memory(out, residual)
    y = room_for(None if taken else out, shape)
    rows = y.reshape(-1, shape[-1])
    np.matmul(as_rows(x), weight.T, out=rows)
    if residual is None:
        if bias is not None:
            _add_bias(y.size // LIGHT, rows, as_carray(bias))
    elif bias is None:
        y += residual
    elif out is residual and out.flags.carray:  # the product is added to the residual
        _add(y.size // LIGHT, as_rows(out), as_carray(bias), rows)
        return out
    else:
        _add(y.size // LIGHT, rows, as_carray(bias), as_rows(residual))
    return deliver(y, out)


@jit
def _add_rows(dy, start, stop, total):
    for i in range(start, stop):
        for j in range(len(total)):
            total[j] += dy[i, j]


@Twins
def _column_sums(dy, sums):
    parts = len(sums)
    for part in prange(parts):
        _add_rows(dy, part * len(dy) // parts, (part + 1) * len(dy) // parts, sums[part])


def _is_worth_a_launch(dy, *, out=None, accumulate=False):
    return dy.size >= SMALLEST


@linear_backward_bias.implement("numba", dtypes=("float32",), when=_is_worth_a_launch)
def linear_backward_bias_numba(dy, *, out=None, accumulate=False):
    rows = as_rows(dy)
    sums = np.zeros((min(PARTS, 1 + len(rows) // ROWS), rows.shape[1]), np.float32)
    _column_sums(dy.size // LIGHT, rows, sums)
    if not accumulate:
        return sums.sum(axis=0, out=out)
    out += sums.sum(axis=0)
    return out
