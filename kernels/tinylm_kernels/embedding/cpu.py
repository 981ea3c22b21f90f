"""The embedding in Numba: rows are copied by all threads, and their gradients added up.

Two positions may hold the same id, so that in the gradient each id belongs to one thread, which clears its row as well.
All of them walk the positions in their order, and each adds the rows of its ids: the same sums for any number of
threads.
"""

import numba
import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..streaming import put, streams
from ..vectors import LANES, fence, read, splat, write
from .reference import embedding, embedding_backward

ZERO = np.float32(0)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 64
# Neighbouring rows that one thread adds to: at the end of each a processor fetches lines of the next, and would take
# them from the core that writes there.
BLOCK = np.int64(16)
# A copy or an addition costs about a quarter of the work that `Twins` counts an element for.
LIGHT = 4


def _flat_ids(ids):
    return as_carray(ids.astype(np.int64, copy=False)).reshape(-1)


@jit
def _copy_row(x, y, n, streaming):
    for j in range(0, n, LANES):
        put(y + 4 * j, read(x + 4 * j, n - j), n - j, streaming)


@Twins
def _gather(table, ids, y, streaming):
    row, table_at, y_at = 4 * table.shape[1], table.ctypes.data, y.ctypes.data
    for part in prange(PARTS):
        for n in range(part * len(ids) // PARTS, (part + 1) * len(ids) // PARTS):
            _copy_row(table_at + row * ids[n], y_at + row * n, table.shape[1], streaming)
        if streaming:
            fence()


@embedding.implement("numba", dtypes=("float32",))
def embedding_numba(table, ids, *, out=None):
    y = room_for(out, (*ids.shape, table.shape[1]))
    rows = as_rows(y)
    _gather(y.size // LIGHT, as_carray(table), _flat_ids(ids), rows, streams(rows))
    return deliver(y, out)


@jit
def _clear_rows(x, n, streaming):
    for j in range(0, n, LANES):
        put(x + 4 * j, splat(ZERO), n - j, streaming)


@jit
def _add_row(x, n, target):
    for j in range(0, n, LANES):
        write(target + 4 * j, read(target + 4 * j, n - j) + read(x + 4 * j, n - j), n - j)


@Twins
def _scatter_add(dy, ids, parts, table, clear, streaming):
    """parts: a power of two. Part p has the blocks p, p + parts, ... of BLOCK rows of the table."""
    rows, columns = table.shape
    row, dy_at, table_at = 4 * columns, dy.ctypes.data, table.ctypes.data
    for part in prange(parts):
        if clear:
            for first in range(part * BLOCK, rows, parts * BLOCK):
                _clear_rows(table_at + row * first, min(BLOCK, rows - first) * columns, streaming)
            if streaming:
                fence()
        for n in range(len(ids)):
            if (ids[n] // BLOCK) & (parts - 1) == part:
                _add_row(dy_at + row * n, columns, table_at + row * ids[n])


@embedding_backward.implement("numba", dtypes=("float32",))
def embedding_backward_numba(dy, ids, *, rows, out=None, accumulate=False):
    table = room_for(out, (rows, dy.shape[-1]))
    if accumulate and table is not out:
        table[...] = out
    parts = 1 << (numba.get_num_threads() - 1).bit_length()
    work = (dy.size + (0 if accumulate else table.size)) // LIGHT
    _scatter_add(work, as_rows(dy), _flat_ids(ids), parts, table, not accumulate, streams(table.reshape(-1)))
    return deliver(table, out)
