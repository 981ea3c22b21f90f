"""Softmax in Numba: what a row costs is its exponentials, so that all else is done beside them.

One pass finds a row's maximum. The next makes the exponentials of the row and, in the same loop, divides those of the
row before by their sum and asks for the numbers of the row behind: the memory works while the arithmetic does.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_rows, deliver, jit, room_for
from ..streaming import floats_before_line, put, streams
from ..vectors import LANES, LINE, fence, load, load_some, read, splat, store_some, total
from .reference import softmax, softmax_backward
from .rows import AHEAD, BLOCK, exponentials, peak_of

ZERO, ONE = np.float32(0), np.float32(1)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 16


@jit
def _rows(x, y, columns, first, stop, ahead):
    """The rows from first to stop, by the addresses of the first of all."""
    row, factor = 4 * columns, ONE
    for i in range(first, stop + 1):  # the last turn only divides
        at, e, sum_ = x + i * row, y + i * row, ZERO
        peak = peak_of(at, columns) if i < stop else ZERO
        for j in range(0, columns, BLOCK):
            n = min(BLOCK, columns - j)
            made, divided = n if i < stop else 0, n if i > first else 0
            sum_ += exponentials(at + 4 * j, peak, e + 4 * j, made, e + 4 * j - row, factor, ZERO, divided, ahead)
        factor = ONE / sum_ if sum_ != ZERO else ONE


@Twins
def _softmax(x, y, ahead):
    rows, columns = x.shape
    x_at, y_at = x.ctypes.data, y.ctypes.data
    parts = min(PARTS, rows)
    for part in prange(parts):
        _rows(x_at, y_at, columns, part * rows // parts, (part + 1) * rows // parts, ahead)


@softmax.implement("numba", dtypes=("float32",))
def softmax_numba(x, *, out=None):
    y = room_for(out, x.shape)
    _softmax(x.size, as_rows(x), as_rows(y), max(4 * x.shape[-1], AHEAD))
    return deliver(y, out)


@jit
def _row_backward(dy, y, dx, n, streaming):
    a = b = splat(ZERO)
    whole = n // (2 * LANES) * 2 * LANES
    for i in range(0, whole * 4, 2 * LINE):
        a = a + load(dy + i) * load(y + i)
        b = b + load(dy + i + LINE) * load(y + i + LINE)
    for j in range(whole, n, LANES):
        a = a + read(dy + j * 4, n - j) * read(y + j * 4, n - j)
    dot = splat(total(a + b))
    first = floats_before_line(dx, n) if streaming else np.int64(0)
    if first:
        store_some(dx, load_some(y, first) * (load_some(dy, first) - dot), first)
    for j in range(first, n, LANES):
        at, left = 4 * j, n - j
        put(dx + at, read(y + at, left) * (read(dy + at, left) - dot), left, streaming)


@Twins
def _softmax_backward(dy, y, dx, streaming):
    rows, columns = y.shape
    dy_at, y_at, dx_at = dy.ctypes.data, y.ctypes.data, dx.ctypes.data
    for part in prange(PARTS):
        for i in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            at = 4 * columns * i
            _row_backward(dy_at + at, y_at + at, dx_at + at, columns, streaming)
        if streaming:
            fence()


@softmax_backward.implement("numba", dtypes=("float32",))
def softmax_backward_numba(dy, y, *, out=None):
    dx = room_for(out, y.shape)
    _softmax_backward(y.size, as_rows(dy), as_rows(y), as_rows(dx), streams(dx.reshape(-1)))
    return deliver(dx, out)
