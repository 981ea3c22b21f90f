"""Rotary position embedding in Numba: one pass over the array, where NumPy makes an array for each product.

The heads of a fused projection are turned where they lie, without a copy, all of a token before those of the next: that
is how they lie there, so that memory is read as one stream, and the angles of a token are read once.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, deliver, jit
from ..streaming import put, streams
from ..strided import flat_and_steps, room_in_rows
from ..vectors import LANES, LINE, fence, peek, poke, read, splat
from .reference import rope

# Tokens of a task: enough to outweigh its start, few enough for the cores of a desktop.
TOKENS = 32


@jit
def _turn_halves(x, cos, sin, way, y, half, streaming):
    """A row, by the addresses of its first numbers. Explicit vectors: a row is too short for a loop with a prologue."""
    for i in range(0, half, LANES):
        at, there, n = 4 * i, 4 * (i + half), half - i
        a, b, c, s = read(x + at, n), read(x + there, n), read(cos + at, n), read(sin + at, n) * splat(way)
        put(y + at, a * c - b * s, n, streaming)
        put(y + there, b * c + a * s, n, streaming)


@jit
def _turn_neighbours(x, cos, sin, way, y, half):
    for i in range(0, 4 * half, 4):
        a, b, c, s = peek(x + 2 * i), peek(x + 2 * i + 4), peek(cos + i), peek(sin + i) * way
        poke(y + 2 * i, a * c - b * s)
        poke(y + 2 * i + 4, b * c + a * s)


@jit
def _copy(x, y, n, streaming):
    for i in range(0, n, LANES):
        put(y + 4 * i, read(x + 4 * i, n - i), n - i, streaming)


@Twins
def _rope(shape, interleaved, way, x, x_steps, cos, sin, positions, y, y_steps, streaming):
    B, H, T, D = shape
    half, tasks = cos.shape[1], (T + TOKENS - 1) // TOKENS
    x_at, cos_at, sin_at, y_at = x.ctypes.data, cos.ctypes.data, sin.ctypes.data, y.ctypes.data
    for task in prange(B * tasks):
        b, first = task // tasks, task % tasks * TOKENS
        for t in range(first, min(T, first + TOKENS)):
            p = positions[b, t]
            angles = 4 * p * half
            for h in range(H):
                x0 = x_at + 4 * (b * x_steps[0] + h * x_steps[1] + t * x_steps[2])
                y0 = y_at + 4 * (b * y_steps[0] + h * y_steps[1] + t * y_steps[2])
                if interleaved:
                    _turn_neighbours(x0, cos_at + angles, sin_at + angles, way, y0, half)
                else:
                    _turn_halves(x0, cos_at + angles, sin_at + angles, way, y0, half, streaming)
                _copy(x0 + 8 * half, y0 + 8 * half, D - 2 * half, streaming)
        if streaming:
            fence()


@rope.implement("numba", dtypes=("float32",))
def rope_numba(x, cos, sin, positions=None, *, interleaved=False, inverse=False, out=None):
    y = room_in_rows(out, x.shape)
    B, _, T, _ = x.shape
    at = np.empty((B, T), np.int64)
    at[...] = np.arange(T) if positions is None else positions
    way = np.float32(-1 if inverse else 1)
    tables = as_carray(cos), as_carray(sin)
    streaming = not interleaved and 4 * cos.shape[1] % int(LINE) == 0 and streams(y)
    _rope(x.size, x.shape, interleaved, way, *flat_and_steps(x), *tables, at, *flat_and_steps(y), streaming)
    return deliver(y, out)
