"""y = x W^T with W packed as files hold it: nothing is unpacked in memory.

Each row of W is read once for four rows x, as one stream. With few rows x memory bounds the time; with many a chunk
of W stays in the cache while they pass.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ..jit import Twins, as_rows, jit
from ..pool import empty
from ..vectors import LINE, four_totals, peek, poke, read, total, write
from .activations import BLOCKED, FLOATS, UNITS, WHOLE, prepare_row, prepared_bytes
from .base import Packed
from .codes import UNIT
from .dots import FIRST_INTEGER, KINDS, ROWS, dot_1, dot_4
from .interleaved import GROUP, Interleaved
from .tiles import FIRST_INTERLEAVED, FIRST_WHOLE, TILE_GROUPS, TILE_ROWS, tile_1, tile_4, tile_8

__all__ = ["address_of", "in_whole_units", "multiply", "multiply_packed", "place_of", "way_of"]

# Rows of W in a task of the threads: fixed, so that any number of threads gives the same bits.
CHUNK = 32
# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 16


@jit(forceinline=True)
def _put(y, o, value, bias, add):
    if bias:
        value += peek(bias + 4 * o)
    poke(y + 4 * o, peek(y + 4 * o) + value if add else value)


@jit
def _dot(kind, w, x, n):
    return dot_1(kind, w, x, 0, n)


@jit
def _multiply_one(weights, first, stop, x, y, bias, add):
    """One row x: row after row of W, and four sums at a time."""
    kind, w, w_row, n = weights
    whole = first + (stop - first) // 4 * 4
    for o in range(first, whole, 4):
        at = w + o * w_row
        a, b = _dot(kind, at, x, n), _dot(kind, at + w_row, x, n)
        c, d = _dot(kind, at + 2 * w_row, x, n), _dot(kind, at + 3 * w_row, x, n)
        a, b, c, d = four_totals(a, b, c, d)
        _put(y, o, a, bias, add)
        _put(y, o + 1, b, bias, add)
        _put(y, o + 2, c, bias, add)
        _put(y, o + 3, d, bias, add)
    for o in range(whole, stop):
        _put(y, o, total(_dot(kind, w + o * w_row, x, n)), bias, add)


@jit(forceinline=True)
def _put_vector(y, left, value, bias, add):
    """Sixteen results, of which `left` exist."""
    if bias:
        value = value + read(bias, left)
    write(y, read(y, left) + value if add else value, left)


@jit
def _put_four(y, y_row, rows, left, values, bias, add):
    """Results of four rows x, of which `rows` exist."""
    _put_vector(y, left, values[0], bias, add)
    if rows > 1:
        _put_vector(y + y_row, left, values[1], bias, add)
    if rows > 2:
        _put_vector(y + 2 * y_row, left, values[2], bias, add)
    if rows > 3:
        _put_vector(y + 3 * y_row, left, values[3], bias, add)


@jit
def _multiply_groups(weights, first, stop, x, x_row, rows, y, y_row, bias, add):
    """The same with interleaved weights; `first` is a multiple of sixteen."""
    kind, w, w_row, n = weights
    step = GROUP if rows == 1 else GROUP * TILE_GROUPS
    for o in range(first, stop, step):
        at, left, offset = w + o // GROUP * w_row, stop - o, bias + 4 * o if bias else bias
        for r in range(0, rows, TILE_ROWS):
            from_x, to, some = x + r * x_row, y + r * y_row + 4 * o, rows - r
            if rows == 1:
                _put_vector(to, left, tile_1(kind, at, w_row, from_x, x_row, n), offset, add)
            elif left <= GROUP:
                _put_four(to, y_row, some, left, tile_4(kind, at, w_row, from_x, x_row, n), offset, add)
            else:
                a, e, b, f, c, g, d, h = tile_8(kind, at, w_row, from_x, x_row, n)
                _put_four(to, y_row, some, left, (a, b, c, d), offset, add)
                second = offset + LINE if bias else offset
                _put_four(to + LINE, y_row, some, left - GROUP, (e, f, g, h), second, add)


@jit
def way_of(kind):
    """How rows x are prepared for a format."""
    if kind < FIRST_INTEGER:
        return FLOATS
    if kind < FIRST_INTERLEAVED:
        return UNITS
    return BLOCKED if kind < FIRST_WHOLE else WHOLE


@jit
def multiply(weights, first, stop, x, x_row, rows, y, y_row, bias, add):
    """y[r, o] = x[r] W[o] + bias[o], plus what is there where `add` says so, for the outputs from first to stop.

    weights: (kind, address, bytes of a row, numbers of a row); x: prepared rows, of which there is memory for a
    multiple of four; bias: its address, or 0.
    """
    kind, w, w_row, n = weights
    if kind >= FIRST_INTERLEAVED:
        _multiply_groups(weights, first, stop, x, x_row, rows, y, y_row, bias, add)
        return
    for r in range(0, rows, ROWS):
        at, to = x + r * x_row, y + r * y_row
        if rows - r == 1:
            _multiply_one(weights, first, stop, at, to, bias, add)
            continue
        for o in range(first, stop):
            a, b, c, d = dot_4(kind, w + o * w_row, at, x_row, n)
            a, b, c, d = four_totals(a, b, c, d)
            _put(to, o, a, bias, add)
            _put(to + y_row, o, b, bias, add)
            if rows - r > 2:
                _put(to + 2 * y_row, o, c, bias, add)
            if rows - r > 3:
                _put(to + 3 * y_row, o, d, bias, add)


@Twins
def _prepare(x, rows, x_row, n, way, to, to_row):
    for r in prange(rows):
        prepare_row(x + r * x_row, n, way, to + r * to_row)


@Twins
def _multiply(weights, outputs, x, x_row, rows, y, y_row, bias, add):
    for chunk in prange((outputs + CHUNK - 1) // CHUNK):
        first, stop = chunk * CHUNK, min(outputs, chunk * CHUNK + CHUNK)
        multiply(weights, first, stop, x, x_row, rows, y, y_row, bias, add)


def place_of(weight: Packed | np.ndarray) -> tuple[int, int, int, int]:
    """A matrix as `multiply` takes it: the number of its format, address, bytes of a row, numbers of a row.

    Its rows are contiguous, and of 128 numbers or more where they are integer codes. Whoever uses the address keeps the
    matrix.
    """
    if isinstance(weight, Interleaved):
        return KINDS[weight.dtype], address_of(weight.memory), weight.memory.strides[0], weight.shape[1]
    stored = weight.blocks if isinstance(weight, Packed) else weight
    return KINDS[str(weight.dtype)], address_of(stored), stored.strides[0], weight.shape[1]


def address_of(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def in_whole_units(weight: Packed | np.ndarray) -> Packed | np.ndarray:
    """The matrix, or where its rows of integer codes are shorter than a unit, one with zeros at their ends."""
    if way_of(KINDS[str(weight.dtype)]) != UNITS or weight.shape[1] >= UNIT:
        return weight
    assert isinstance(weight, Packed)
    missing = UNIT // weight.block_values - weight.blocks.shape[1]
    return type(weight)(np.pad(weight.blocks, ((0, 0), (0, missing), (0, 0))))  # a block of zeros stands for zeros


def multiply_packed(
    x: np.ndarray, weight: Packed | np.ndarray, bias: np.ndarray | None, y: np.ndarray, *, add: bool
) -> None:
    """y (M, O) = x (M, I) W^T + bias, plus what y holds where `add` says so; y is C-contiguous.

    The products are those of `dots`: of rounded x where the format has integer codes.
    """
    weight = in_whole_units(weight)
    kind, *_, n = weights = place_of(weight)
    if x.shape[1] < n:
        x = np.pad(x, ((0, 0), (0, n - x.shape[1])))
    x, rows, outputs = as_rows(x), len(x), y.shape[1]
    way = way_of(kind)
    row = prepared_bytes(n, way)
    prepared = empty((-(-rows // ROWS) * ROWS, row), np.uint8)
    _prepare(rows * n, address_of(x), rows, x.strides[0], n, way, address_of(prepared), row)
    bias_at = 0 if bias is None else address_of(bias)
    work = rows * outputs * n // MULTIPLY_ADDS
    _multiply(work, weights, outputs, address_of(prepared), row, rows, address_of(y), y.strides[0], bias_at, add)
