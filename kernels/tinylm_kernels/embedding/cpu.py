"""The embedding's gradient in Numba, as a scatter-add.

Two positions may hold the same id, so rows cannot go to the threads; blocks of columns can. A thread walks
all positions in their order and adds its columns: the same sums for any number of threads. The forward has no
version here: NumPy's `take` copies rows as fast as the memory allows.
"""

import numba
import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from .reference import embedding_backward

LINE = 16  # floats in a cache line: no line is written by two threads where C is a multiple of it


@jit(forceinline=True)
def _add_block(dy, ids, start, stop, table):
    for n in range(len(ids)):
        row, addend = table[ids[n], start:stop], dy[n, start:stop]
        for j in range(len(row)):
            row[j] += addend[j]


@Twins
def _scatter_add(dy, ids, width, table):
    columns = table.shape[1]
    for block in prange((columns + width - 1) // width):
        _add_block(dy, ids, block * width, min((block + 1) * width, columns), table)


@embedding_backward.implement("numba", dtypes=("float32",))
def embedding_backward_numba(dy, ids, *, rows, out=None, accumulate=False):
    table = room_for(out, (rows, dy.shape[-1]))
    if not accumulate:
        table[...] = 0
    elif table is not out:
        table[...] = out
    lines = -(-dy.shape[-1] // LINE)
    width = LINE * -(-lines // numba.get_num_threads())
    _scatter_add(dy.size, as_rows(dy), as_carray(ids.astype(np.int64, copy=False)).reshape(-1), width, table)
    return deliver(table, out)
