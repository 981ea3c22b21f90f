"""Softmax in Numba: what a row costs is its exponentials, so that all else is done beside them.

One pass finds a row's maximum. The next makes the exponentials of the row and, in the same loop, divides those of the
row before by their sum and asks for the numbers of the row behind: the memory works while the arithmetic does. A large
result is streamed from two rows of exponentials that stay in the cache.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_rows, deliver, jit, room_for
from ..products import aligned
from ..streaming import floats_before_line, put, streams
from ..vectors import LANES, LINE, fence, load, load_some, read, splat, store_some, total
from .reference import softmax, softmax_backward
from .rows import AHEAD, BLOCK, exponentials, peak_of

ZERO, ONE = np.float32(0), np.float32(1)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 16
# Columns from which on rows are streamed: those of shorter ones are written in parts, before and after whole lines.
WIDE = 256


@jit
def _place(y, row, i, spare):
    """Where the exponentials of row i are made: in the place of its result, or in one of two spare rows.

    These lie to lines as the result does.
    """
    at = y + i * row
    return at if spare == 0 else spare + (i & 1) * _padded(row) + at % LINE


@jit
def _padded(row):
    """The bytes of a row, moved by less than a line, in whole lines."""
    return (row + 2 * LINE) // LINE * LINE


@jit
def _rows(scratch, x, y, columns, first, stop, ahead):
    """The rows from first to stop, by the addresses of the first of all.

    scratch: room for two rows from which the results are streamed, or none.
    """
    row, factor, spare = 4 * columns, ONE, aligned(scratch) if len(scratch) else np.int64(0)
    for i in range(first, stop + 1):  # the last turn only divides
        at, sum_ = x + i * row, ZERO
        e, last, result = _place(y, row, i, spare), _place(y, row, i - 1, spare), y + (i - 1) * row
        head = floats_before_line(result, columns) if spare and i > first else 0
        if head:
            store_some(result, load_some(last, head) * splat(factor), head)
        peak = peak_of(at, columns) if i < stop else ZERO
        for j in range(0, columns, BLOCK):
            made = min(BLOCK, columns - j) if i < stop else 0
            divided = max(0, min(BLOCK, columns - head - j)) if i > first else 0
            to = 4 * (head + j)
            sum_ += exponentials(
                at + 4 * j, peak, e + 4 * j, made, last + to, result + to, factor, ZERO, divided, ahead, spare != 0
            )
        factor = ONE / sum_ if sum_ != ZERO else ONE


@Twins
def _softmax(x, y, ahead, streaming):
    rows, columns = x.shape
    x_at, y_at = x.ctypes.data, y.ctypes.data
    parts = min(PARTS, rows)
    for part in prange(parts):
        scratch = np.empty((LINE + 2 * _padded(4 * columns)) // 4 if streaming else 0, np.float32)
        _rows(scratch, x_at, y_at, columns, part * rows // parts, (part + 1) * rows // parts, ahead)
        if streaming:
            fence()


@softmax.implement("numba", dtypes=("float32",))
def softmax_numba(x, *, out=None):
    y = room_for(out, x.shape)
    columns = x.shape[-1]
    streaming = columns >= WIDE and streams(y.reshape(-1))
    _softmax(x.size, as_rows(x), as_rows(y), max(4 * columns, AHEAD), streaming)
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
