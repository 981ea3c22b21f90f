"""The product in bfloat16 on the dot instructions of AVX512-BF16; where the processor has none, only the reference.

Each thread computes a part of the result. It packs, and thereby rounds, a block of rows of a (for the L2 cache), then
in turn each panel of columns of b (for the L1), and has the register tile run over the two; bias and residual join
where a tile of sums is written. The terms are cut by their number alone, so that all cuts of rows and columns give the
same bits.
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

# A block: so many terms at a time, which are most of the L1 cache for a panel of b, of so many rows, which are most of
# the L2. Of 256 to 768 terms these are the fastest, measured on a Zen 4; more cost less to add up, and pack b again.
TERMS, BLOCK = 512, 40 * ROWS
RUN = 2 * LANES  # terms that `pack_along` packs at once
PAIR_OF_A, PAIR_OF_B = np.int64(4 * LANES), np.int64(4 * COLUMNS)  # bytes of a pair of terms in a panel
# What a thread works in: the panels of a block of a, one panel of b, and the sums of a tile.
PANEL_OF_A = TERMS // 2 * 4 * LANES
A_BYTES, B_BYTES = BLOCK // ROWS * PANEL_OF_A, TERMS // 2 * 4 * COLUMNS
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
            for first in range(k, k + 2 * STEP, 2):
                pack_across(source + first * term, term, terms - first, count, target + first // 2 * target_pair)


@jit
def _finish(sums, rows, columns, bias, addend, c):
    """Write a tile of sums, plus the bias and the addend where their addresses are not 0."""
    for i in range(rows):
        for j in range(0, columns, LANES):
            at, n = j * FLOAT, columns - j
            value = load(sums + i * PAIR_OF_B + at)
            if bias:
                value = value + read(bias + at, n)
            if addend[0]:
                value = value + read(addend[0] + i * addend[1] + at, n)
            write(c[0] + i * c[1] + at, value, n)


@jit
def _moved(place, rows, columns):
    """(address, row step) of what lies so many rows and bytes further on; 0 stays the address of nothing."""
    return place[0] and place[0] + rows * place[1] + columns, place[1]


@jit
def _block(a, rows, b, columns, terms, bias, addend, c, buffer):
    """c = a b + bias + addend for a block of a. a, b: address, step of a row or column, step of a term, in bytes."""
    panel_of_b, sums = buffer + A_BYTES, buffer + A_BYTES + B_BYTES
    pairs = (terms + 2 * STEP - 1) // (2 * STEP) * STEP
    for i in range(0, rows, ROWS):
        panel = buffer + i // ROWS * PANEL_OF_A
        _pack(a[0] + i * a[1], a[1], a[2], min(LANES, rows - i), terms, panel, PAIR_OF_A)
    for j in range(0, columns, COLUMNS):
        at, width = j * FLOAT, min(COLUMNS, columns - j)
        for half in range(0, width, LANES):
            source = b[0] + (j + half) * b[1]
            _pack(source, b[1], b[2], min(LANES, width - half), terms, panel_of_b + half * FLOAT, PAIR_OF_B)
        for i in range(0, rows, ROWS):
            to = _moved(c, i, at)
            tile(buffer + i // ROWS * PANEL_OF_A, panel_of_b, pairs, sums, *to)
            _finish(sums, min(ROWS, rows - i), width, bias and bias + at, _moved(addend, i, at), to)


@jit
def _part(a, rows, b, columns, K, bias, addend, c, buffer):
    """The same for any numbers of rows and terms, which are cut evenly into blocks."""
    blocks, panels = (rows + BLOCK - 1) // BLOCK, (rows + ROWS - 1) // ROWS
    chunks, runs = (K + TERMS - 1) // TERMS, (K + RUN - 1) // RUN
    for block in range(blocks):
        top, bottom = block * panels // blocks * ROWS, min(rows, (block + 1) * panels // blocks * ROWS)
        for chunk in range(chunks):
            first, end = chunk * runs // chunks * RUN, min(K, (chunk + 1) * runs // chunks * RUN)
            _block(
                (a[0] + top * a[1] + first * a[2], a[1], a[2]),
                bottom - top,
                (b[0] + first * b[2], b[1], b[2]),
                columns,
                end - first,
                0 if chunk else bias,
                _moved(c if chunk else addend, top, 0),  # the chunks after the first add to what is there
                _moved(c, top, 0),
                buffer,
            )


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
            (a[0] + top * a[1], a[1], a[2]),
            bottom - top,
            (b[0] + left * b[1], b[1], b[2]),
            right - left,
            K,
            bias and bias + at,
            _moved(addend, top, at),
            _moved(c, top, at),
            buffers + part * BUFFER,
        )


def _place(matrix):
    """(address, row step, column step) in bytes; zeros for None."""
    return (0, 0, 0) if matrix is None else (matrix.__array_interface__["data"][0], *matrix.strides)


def _with_a_unit_step(matrix):
    """The matrix itself where its rows or its columns are contiguous, else a copy."""
    return matrix if matrix.flags.aligned and FLOAT in matrix.strides else np.ascontiguousarray(matrix)


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
        M * N * K // MULTIPLY_ADDS,
        (M, N, K),
        _place(a),
        _place(b.T),
        0 if bias is None else bias.ctypes.data,
        _place(residual)[:2],
        _place(y)[:2],
        buffers.ctypes.data,
        *parts,
    )
    return deliver(y, out)


if compiles_for("avx512bf16"):
    matmul_bfloat16.implement("numba", dtypes=("float32",))(matmul_bfloat16_numba)
