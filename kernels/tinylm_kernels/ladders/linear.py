"""The ladder of the linear layer for one row or a few, the product of decoding. Rungs add x w^T to y.

x: (R, I), w: (O, I), y: (R, O), which already holds the bias and the residual.
"""

import numpy as np
from numba import prange

from ..few_rows import CHUNK, TILE, tile
from ..jit import LAUNCH, STRICT, as_carray, as_rows, deliver, jit, room_for
from ..linear import linear
from . import rungs_of


def _run(loops, x, weight, bias=None, residual=None, *, out=None):
    y = room_for(out, (*x.shape[:-1], weight.shape[0]))
    y[...] = 0 if residual is None else residual
    if bias is not None:
        y += bias
    with LAUNCH:
        loops(as_rows(x), as_carray(weight), as_rows(y))
    return deliver(y, out)


rung = rungs_of(linear, _run)


@rung
@jit(fastmath=STRICT)
def v0_loops(x, w, y):
    """The formula: one sum after the other.

    Each addition waits some four cycles for the one before, since the order of a sum is part of its result.
    """
    for r in range(len(x)):
        for o in range(len(w)):
            total = 0.0
            for i in range(w.shape[1]):
                total += x[r, i] * w[o, i]
            y[r, o] += total


@rung
@jit
def v1_vectorised(x, w, y):
    """The same loops, with leave to reorder the sum: it becomes several vectors of partial sums.

    With one row this is as fast as one core reads memory. With several, all weights are read again for each of them.
    """
    for r in range(len(x)):
        for o in range(len(w)):
            row, weights, total = x[r], w[o], np.float32(0)
            for i in range(len(row)):
                total += row[i] * weights[i]
            y[r, o] += total


@jit
def tiles(x, w, y, start, stop):
    """The columns of y from start to stop, by tiles of 4 x 4 results."""
    n, x_row, w_row, y_row = w.shape[1], x.strides[0], w.strides[0], y.strides[0]
    for o in range(start, stop, TILE):
        for r in range(0, len(x), TILE):
            tile(
                x.ctypes.data + r * x_row, x_row, len(x) - r, w.ctypes.data + o * w_row, w_row, len(w) - o, n,
                y.ctypes.data + r * y_row + o * 4, y_row, True,
            )  # fmt: skip


@rung
@jit
def v2_fused(x, w, y):
    """Tiles of 4 x 4 results in registers: each vector of x and of w that is read takes part in four products.

    The weights are read once for all rows. With one row there is nothing to share, and four rows of weights read side
    by side come more slowly from memory than one stream: the kernel in use has a loop of its own for that.
    """
    tiles(x, w, y, 0, len(w))


@rung
@jit(parallel=True)
def v3_parallel(x, w, y):
    """Rows of weights, in chunks, go to the threads: two cores draw more from memory than one."""
    for chunk in prange((len(w) + CHUNK - 1) // CHUNK):
        tiles(x, w, y, chunk * CHUNK, min(len(w), chunk * CHUNK + CHUNK))
