"""Rotary position embedding in Numba: one pass over the array, where NumPy makes an array for each product.

The heads of a fused projection are turned where they lie, without a copy.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, deliver, jit
from ..strided import flat_and_steps, room_in_rows
from ..vectors import LANES, read, splat, write
from .reference import rope


@jit
def _turn_halves(x, cos, sin, way, y, half):
    """A row, by the addresses of its first numbers. Explicit vectors: a row is too short for a loop with a prologue."""
    for i in range(0, half, LANES):
        at, there, n = 4 * i, 4 * (i + half), half - i
        a, b, c, s = read(x + at, n), read(x + there, n), read(cos + at, n), read(sin + at, n) * splat(way)
        write(y + at, a * c - b * s, n)
        write(y + there, b * c + a * s, n)


@jit(forceinline=True)
def _turn_neighbours(x, cos, sin, way, y):
    for i in range(len(cos)):
        a, b, s = x[2 * i], x[2 * i + 1], way * sin[i]
        y[2 * i] = a * cos[i] - b * s
        y[2 * i + 1] = b * cos[i] + a * s


@jit(forceinline=True)
def _copy_rest(x, y, start):
    for j in range(start, len(x)):
        y[j] = x[j]


@Twins
def _rope(shape, interleaved, way, x, x_steps, cos, sin, positions, y, y_steps):
    B, H, T, D = shape
    half = cos.shape[1]
    x_at, cos_at, sin_at, y_at = x.ctypes.data, cos.ctypes.data, sin.ctypes.data, y.ctypes.data
    for row in prange(B * H * T):
        head, t = row // T, row % T
        b, h = head // H, head % H
        x0 = b * x_steps[0] + h * x_steps[1] + t * x_steps[2]
        y0 = b * y_steps[0] + h * y_steps[1] + t * y_steps[2]
        p = positions[b, t]
        if interleaved:
            _turn_neighbours(x[x0 : x0 + D], cos[p], sin[p], way, y[y0 : y0 + D])
        else:
            angles = 4 * p * half
            _turn_halves(x_at + 4 * x0, cos_at + angles, sin_at + angles, way, y_at + 4 * y0, half)
        _copy_rest(x[x0 : x0 + D], y[y0 : y0 + D], 2 * half)


@rope.implement("numba", dtypes=("float32",))
def rope_numba(x, cos, sin, positions=None, *, interleaved=False, inverse=False, out=None):
    y = room_in_rows(out, x.shape)
    B, _, T, _ = x.shape
    at = np.empty((B, T), np.int64)
    at[...] = np.arange(T) if positions is None else positions
    way = np.float32(-1 if inverse else 1)
    _rope(x.size, x.shape, interleaved, way, *flat_and_steps(x), as_carray(cos), as_carray(sin), at, *flat_and_steps(y))
    return deliver(y, out)
