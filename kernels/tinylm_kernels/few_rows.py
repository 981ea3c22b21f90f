"""y = x W^T for a few rows x: the product of decoding, where a step reads all weights for one token or some.

With one row each weight is read for a single multiply-add, so that memory bounds the time: W is read as one stream, row
after row, which the prefetcher follows to the full bandwidth (four rows side by side get half of it). With more rows a
register tile of 4 x 4 results takes each vector that it loads four times. A matrix product in BLAS first packs W,
which for so few rows costs more than the product.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .jit import Twins, compiles_for, jit
from .vectors import LANES, LINE, load, peek, poke, read, splat, total

__all__ = ["CHUNK", "FEW", "TILE", "few_rows", "tile"]

# Up to so many rows it is as fast as OpenBLAS or faster, by 1.3 with the last of them. The 16 sums of a tile take as
# many registers with AVX-512, and more than there are elsewhere. Measured.
FEW = 64 if compiles_for("avx512f") else 8
TILE = 4
# Rows of W in a task of the threads, a multiple of TILE: fixed, so that any number of threads gives the same bits.
CHUNK = 32
# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 8
ZERO = np.float32(0)


@jit
def dot(x, w, n):
    """The sum of x[i] w[i] over n floats, in four sums: no multiply-add waits for the one before."""
    a = b = c = d = splat(ZERO)
    whole = n // (4 * LANES) * (4 * LANES)
    for i in range(0, whole * 4, 4 * LINE):
        a = a + load(x + i) * load(w + i)
        b = b + load(x + i + LINE) * load(w + i + LINE)
        c = c + load(x + i + 2 * LINE) * load(w + i + 2 * LINE)
        d = d + load(x + i + 3 * LINE) * load(w + i + 3 * LINE)
    for i in range(whole, n, LANES):
        a = a + read(x + i * 4, n - i) * read(w + i * 4, n - i)
    return total((a + b) + (c + d))


@jit(forceinline=True)
def _four_rows(at, row, count):
    """The addresses of four rows, of which `count` exist; the last one takes the place of the missing."""
    last = count - 1
    return at, at + min(1, last) * row, at + min(2, last) * row, at + min(3, last) * row


@jit(forceinline=True)
def _read_four(rows, i, n):
    """A vector from each of four rows of n floats, from float i on."""
    return (
        read(rows[0] + i * 4, n - i),
        read(rows[1] + i * 4, n - i),
        read(rows[2] + i * 4, n - i),
        read(rows[3] + i * 4, n - i),
    )


@jit(forceinline=True)
def _add_products(sums, w, x):
    return sums[0] + w[0] * x, sums[1] + w[1] * x, sums[2] + w[2] * x, sums[3] + w[3] * x


@jit(forceinline=True)
def _put(y, value, add):
    poke(y, peek(y) + value if add else value)


@jit(forceinline=True)
def _put_four(y, sums, count, add):
    """The totals of four vectors, of which `count` exist, side by side."""
    _put(y, total(sums[0]), add)
    if count > 1:
        _put(y + 4, total(sums[1]), add)
    if count > 2:
        _put(y + 8, total(sums[2]), add)
    if count > 3:
        _put(y + 12, total(sums[3]), add)


@jit
def tile(x, x_row, rows, w, w_row, columns, n, y, y_row, add):
    """4 x 4 results, of which rows x columns exist."""
    zeros = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    sums_0, sums_1, sums_2, sums_3 = zeros, zeros, zeros, zeros
    from_x, from_w = _four_rows(x, x_row, rows), _four_rows(w, w_row, columns)
    for i in range(0, n, LANES):  # each of the eight vectors takes part in four of the sixteen products
        xs, ws = _read_four(from_x, i, n), _read_four(from_w, i, n)
        sums_0 = _add_products(sums_0, ws, xs[0])
        sums_1 = _add_products(sums_1, ws, xs[1])
        sums_2 = _add_products(sums_2, ws, xs[2])
        sums_3 = _add_products(sums_3, ws, xs[3])
    _put_four(y, sums_0, columns, add)
    if rows > 1:
        _put_four(y + y_row, sums_1, columns, add)
    if rows > 2:
        _put_four(y + 2 * y_row, sums_2, columns, add)
    if rows > 3:
        _put_four(y + 3 * y_row, sums_3, columns, add)


@Twins
def _product(size, x, x_row, w, w_row, y, y_row, add):
    rows, outputs, n = size
    for chunk in prange((outputs + CHUNK - 1) // CHUNK):
        first, stop = chunk * CHUNK, min(outputs, chunk * CHUNK + CHUNK)
        if rows == 1:
            for o in range(first, stop):
                _put(y + o * 4, dot(x, w + o * w_row, n), add)
            continue
        for o in range(first, stop, TILE):  # the weights of a tile stay in the cache for all rows
            for r in range(0, rows, TILE):
                tile(
                    x + r * x_row, x_row, rows - r, w + o * w_row, w_row, outputs - o, n,
                    y + r * y_row + o * 4, y_row, add,
                )  # fmt: skip


def few_rows(x: np.ndarray, w: np.ndarray, y: np.ndarray, *, add: bool) -> None:
    """y (M, N) = [y +] x (M, K) w^T; w: (N, K). The last axis of all three is contiguous."""
    size = (len(x), len(w), x.shape[1])
    work = size[0] * size[1] * size[2] // MULTIPLY_ADDS
    _product(work, size, *_place(x), *_place(w), *_place(y), add)


def _place(a):
    return a.__array_interface__["data"][0], a.strides[0]
