"""The embedding in Numba: rows are copied by all threads, and their gradients added up.

Two positions may hold the same id, so that in the gradient each id belongs to one thread. All of them walk the
positions in their order, and each adds the rows of its ids: the same sums for any number of threads.
"""

import numba
import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..streaming import CHUNK, put, streams
from ..vectors import LANES, fence, read, splat, write
from .reference import embedding, embedding_backward

ZERO = np.float32(0)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 64


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
    _gather(y.size, as_carray(table), _flat_ids(ids), rows, streams(rows))
    return deliver(y, out)


@jit
def _clear_chunk(x, n, streaming):
    for j in range(0, n, LANES):
        put(x + 4 * j, splat(ZERO), n - j, streaming)


@Twins
def _clear(x, streaming):
    x_at = x.ctypes.data
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        _clear_chunk(x_at + 4 * chunk * CHUNK, min(CHUNK, len(x) - chunk * CHUNK), streaming)
        if streaming:
            fence()


@jit
def _add_row(x, n, target):
    for j in range(0, n, LANES):
        write(target + 4 * j, read(target + 4 * j, n - j) + read(x + 4 * j, n - j), n - j)


@Twins
def _scatter_add(dy, ids, parts, table):
    row, dy_at, table_at = 4 * table.shape[1], dy.ctypes.data, table.ctypes.data
    for part in prange(parts):
        for n in range(len(ids)):
            if ids[n] % parts == part:
                _add_row(dy_at + row * n, table.shape[1], table_at + row * ids[n])


@embedding_backward.implement("numba", dtypes=("float32",))
def embedding_backward_numba(dy, ids, *, rows, out=None, accumulate=False):
    table = room_for(out, (rows, dy.shape[-1]))
    if not accumulate:
        flat = table.reshape(-1)
        _clear(flat.size, flat, streams(flat))
    elif table is not out:
        table[...] = out
    _scatter_add(dy.size, as_rows(dy), _flat_ids(ids), numba.get_num_threads(), table)
    return deliver(table, out)
