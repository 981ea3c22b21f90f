"""The product in bfloat16 on the dot instructions of AVX512-BF16; where the processor has none, only the reference.

Each thread computes a part of the result: it packs, and thereby rounds, some rows of a (for the L2 cache), then in turn
each panel of b (for the L1), and has the register tile run over the two. Bias and residual join while a tile of sums is
written. The terms are cut by their number alone, so that any cut of the rows and columns gives the same bits.
Source: Goto and van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (the blocks).
"""

import numba
import numpy as np
from numba import prange

from ..jit import Twins, as_carray, compiles_for, deliver, jit, room_for
from ..pool import empty
from ..products import FLOAT
from ..vectors import LANES, load, read, write
from .reference import matmul_bfloat16
from .tiles import COLUMNS, ROWS, STEP, pack_across, pack_along, tile

# So many terms at a time: a panel of b and one of a fill the L1 cache. So many rows: they fill half of the L2.
TERMS, BLOCK = 384, 48 * ROWS
# Terms that `pack_along` packs at once, into 16 pairs.
RUN = 2 * LANES
PAIR_OF_A, PAIR_OF_B = np.int64(4 * LANES), np.int64(4 * COLUMNS)  # bytes of a pair of terms in a panel
# What a thread works in: the rows of a, a panel of b, and the sums of a tile.
A_BYTES = BLOCK // ROWS * TERMS // 2 * 4 * LANES
B_BYTES = TERMS // 2 * 4 * COLUMNS
BUFFER = A_BYTES + B_BYTES + 4 * ROWS * COLUMNS
# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 32


@jit
def _pack(source, step, term, count, terms, target, target_pair):
    """Pack the terms of up to 16 rows or columns; term k of number i lies at source + i step + k term, in bytes."""
    if term == FLOAT:
        for k in range(0, terms, RUN):
            pack_along(source + k * FLOAT, step, count, terms - k, target + k // 2 * target_pair, target_pair)
    else:
        for k in range(0, terms, 2 * STEP):
            for pair in range(k, k + 2 * STEP, 2):
                pack_across(source + pair * term, term, terms - pair, count, target + pair // 2 * target_pair)


@jit
def _finish(sums, rows, columns, bias, addend, addend_row, c, c_row):
    """Write a tile of sums, plus the bias and the addend where these are not 0."""
    for i in range(rows):
        for j in range(0, columns, LANES):
            at, n = j * FLOAT, columns - j
            value = load(sums + i * PAIR_OF_B + at)
            if bias:
                value = value + read(bias + at, n)
            if addend:
                value = value + read(addend + i * addend_row + at, n)
            write(c + i * c_row + at, value, n)


@jit
def _block(a, rows, b, columns, terms, bias, addend, c, buffer):
    """`_part` for some rows and terms, which fit into the buffer."""
    run = (terms + RUN - 1) // RUN * LANES  # pairs that a panel has room for
    pairs = (terms + 2 * STEP - 1) // (2 * STEP) * STEP
    panel_of_b, sums = buffer + A_BYTES, buffer + A_BYTES + B_BYTES
    for i in range(0, rows, ROWS):
        _pack(a[0] + i * a[1], a[1], a[2], min(LANES, rows - i), terms, buffer + i // ROWS * run * PAIR_OF_A, PAIR_OF_A)
    for j in range(0, columns, COLUMNS):
        for left in range(j, min(j + COLUMNS, columns), LANES):
            target = panel_of_b + (left - j) * FLOAT
            _pack(b[0] + left * b[2], b[2], b[1], min(LANES, columns - left), terms, target, PAIR_OF_B)
        at, width = j * FLOAT, min(COLUMNS, columns - j)
        for i in range(0, rows, ROWS):
            tile(buffer + i // ROWS * run * PAIR_OF_A, panel_of_b, pairs, sums)
            _finish(
                sums, min(ROWS, rows - i), width,
                bias and bias + at, addend[0] and addend[0] + i * addend[1] + at, addend[1],
                c[0] + i * c[1] + at, c[1],
            )  # fmt: skip


@jit
def _part(a, rows, b, columns, K, bias, addend, c, buffer):
    """Some rows and columns of the product. a, b, addend, c: address and steps in bytes; 0 for no bias or addend."""
    blocks, chunks = (rows + BLOCK - 1) // BLOCK, (K + TERMS - 1) // TERMS
    for block in range(blocks):
        panels = (rows + ROWS - 1) // ROWS
        top, bottom = block * panels // blocks * ROWS, min(rows, (block + 1) * panels // blocks * ROWS)
        to = c[0] + top * c[1], c[1]
        for chunk in range(chunks):
            runs = (K + RUN - 1) // RUN
            first, end = chunk * runs // chunks * RUN, min(K, (chunk + 1) * runs // chunks * RUN)
            add = (to if chunk else (addend[0] and addend[0] + top * addend[1], addend[1]))
            _block(
                (a[0] + top * a[1] + first * a[2], a[1], a[2]), bottom - top,
                (b[0] + first * b[1], b[1], b[2]), columns, end - first,
                0 if chunk else bias, add, to, buffer,
            )  # fmt: skip


@Twins
def _product(size, a, b, bias, addend, c, buffers, row_parts, column_parts):
    M, N, K = size
    rows, columns = (M + ROWS - 1) // ROWS, (N + COLUMNS - 1) // COLUMNS
    for part in prange(row_parts * column_parts):
        row, column = part // column_parts, part % column_parts
        top, bottom = row * rows // row_parts * ROWS, min(M, (row + 1) * rows // row_parts * ROWS)
        left = column * columns // column_parts * COLUMNS
        right = min(N, (column + 1) * columns // column_parts * COLUMNS)
        at = left * FLOAT
        _part(
            (a[0] + top * a[1], a[1], a[2]), bottom - top,
            (b[0] + left * b[2], b[1], b[2]), right - left, K,
            bias and bias + at, (addend[0] and addend[0] + top * addend[1] + at, addend[1]),
            (c[0] + top * c[1] + at, c[1]), buffers + part * BUFFER,
        )  # fmt: skip


def _place(matrix):
    """The address of a matrix, and its steps from row to row and from column to column in bytes."""
    return matrix.__array_interface__["data"][0], *matrix.strides


def _with_a_unit_step(matrix):
    """The matrix itself where its rows or its columns are contiguous, else a copy."""
    return matrix if FLOAT in matrix.strides and matrix.flags.aligned else np.ascontiguousarray(matrix)


def matmul_bfloat16_numba(a, b, bias=None, residual=None, *, out=None):
    if not (a.size and b.size):
        return matmul_bfloat16.reference(a, b, bias, residual, out=out)
    (M, K), N = a.shape, b.shape[1]
    y = room_for(out, (M, N))
    a, b = _with_a_unit_step(a), _with_a_unit_step(b)
    bias = None if bias is None else as_carray(bias)
    residual = None if residual is None else as_carray(residual)
    threads = numba.get_num_threads()
    parts = (threads, 1) if M >= N else (1, threads)
    buffers = empty((threads, BUFFER), np.uint8)  # so large that it begins on a page, hence on a cache line
    _product(
        M * N * K // MULTIPLY_ADDS, (M, N, K), _place(a), _place(b),
        0 if bias is None else bias.ctypes.data,
        (0, 0) if residual is None else _place(residual)[:2],
        _place(y)[:2], buffers.ctypes.data, *parts,
    )  # fmt: skip
    return deliver(y, out)


if compiles_for("avx512bf16"):
    matmul_bfloat16.implement("numba", dtypes=("float32",))(matmul_bfloat16_numba)
