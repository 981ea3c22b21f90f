"""The linear layer: the matrix product of the precision in force, with what is added to it.

In float32 the BLAS behind `np.matmul` is as fast as a matrix product gets on a CPU; see `blas` for how it is called. It
adds to what is there as fast as it overwrites, so the bias and the residual are put there first: one pass over the
result less. In bfloat16 they join where the product writes its result.
"""

import numpy as np
from numba import prange

from ..blas import matmul
from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..matmul_bfloat16 import matmul_bfloat16
from ..precision import current_precision
from . import packed  # noqa: F401 - registers what takes packed weights
from .reference import linear, linear_backward_bias, linear_backward_input, linear_backward_weight

# Parts of the rows, whose sums are added up at the end in their order: the same for any number of threads; of
# enough rows to outweigh that.
PARTS, ROWS = 16, 64
# An addition costs about a quarter of the work that `Twins` counts an element for.
LIGHT = 4
# Below this many elements NumPy's sum is faster, which needs 1 us less for a call. Measured.
SMALLEST = 1 << 14


@Twins
def _fill(y, bias, residual):
    for i in prange(len(y)):
        row, addend = y[i], residual[i]
        for j in range(len(row)):
            row[j] = bias[j] + addend[j]


@Twins
def _fill_with_bias(y, bias):
    for i in prange(len(y)):
        row = y[i]
        for j in range(len(row)):
            row[j] = bias[j]


def _float32_product(a, b, bias=None, residual=None, *, out):
    if residual is not None and bias is not None:
        _fill(out.size // LIGHT, out, as_carray(bias), as_carray(residual))
    elif bias is not None:
        _fill_with_bias(out.size // LIGHT, out, as_carray(bias))
    elif residual is not None and residual is not out:
        out[...] = residual
    matmul(a, b, out, accumulate=bias is not None or residual is not None)


# a b + bias + residual, of matrices, in each precision.
PRODUCTS = {"float32": _float32_product, "bfloat16": matmul_bfloat16}


def _rows(x):
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


@linear.implement("numba", dtypes=("float32",))
def linear_numba(x, weight, bias=None, residual=None, *, out=None):
    y = room_for(out, (*x.shape[:-1], weight.shape[0]))
    rows = _rows(y)
    addend = None if residual is None else rows if y is residual else as_rows(residual)
    PRODUCTS[current_precision()](_rows(x), weight.T, bias, addend, out=rows)
    return deliver(y, out)


@linear_backward_input.implement("numba", dtypes=("float32",))
def linear_backward_input_numba(dy, weight, *, out=None):
    dx = room_for(out, (*dy.shape[:-1], weight.shape[1]))
    PRODUCTS[current_precision()](_rows(dy), weight, out=_rows(dx))
    return deliver(dx, out)


@linear_backward_weight.implement("numba", dtypes=("float32",))
def linear_backward_weight_numba(dy, x, *, out=None, accumulate=False):
    dw = room_for(out, (dy.shape[-1], x.shape[-1]))
    addend = None if not accumulate else dw if dw is out else as_carray(out)
    PRODUCTS[current_precision()](_rows(dy).T, _rows(x), None, addend, out=dw)
    return deliver(dw, out)


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
