"""SiLU and SwiGLU in Numba: one exp and one division make an element, which stays in a register.

The halves of a fused projection are rows of a wider array: the kernels step from row to row, and copy nothing.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, deliver, jit, room_for
from ..streaming import CHUNK, put, streams
from ..strided import in_rows, room_in_rows, rows_of
from ..vectors import LANES, exp, fence, read, sigmoid, smaller, splat, where_negative
from .reference import silu, silu_backward, swiglu, swiglu_backward

ZERO, ONE = np.float32(0), np.float32(1)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 64


@jit
def _sigmoid_and_slope(x):
    """s = 1 / (1 + e^-x) and s (1 - s), through e^-|x|: nothing overflows, and 1 - s does not cancel."""
    power = exp(smaller(x, splat(ZERO) - x))
    larger = splat(ONE) / (splat(ONE) + power)
    rest = power * larger
    return where_negative(x, rest, larger), rest * larger


@jit
def _silu_chunk(x, y, n, streaming):
    for i in range(0, n, LANES):
        z = read(x + 4 * i, n - i)
        put(y + 4 * i, z * sigmoid(z), n - i, streaming)


@Twins
def _silu(x, y, streaming):
    x_at, y_at = x.ctypes.data, y.ctypes.data
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        _silu_chunk(x_at + 4 * start, y_at + 4 * start, min(CHUNK, len(x) - start), streaming)
        if streaming:
            fence()


@silu.implement("numba", dtypes=("float32",))
def silu_numba(x, *, out=None):
    y = room_for(out, x.shape)
    flat = y.reshape(-1)
    _silu(x.size, as_carray(x).reshape(-1), flat, streams(flat))
    return deliver(y, out)


@jit
def _silu_backward_chunk(dy, x, dx, n, streaming):
    for i in range(0, n, LANES):
        at, left = 4 * i, n - i
        z = read(x + at, left)
        s, slope = _sigmoid_and_slope(z)
        put(dx + at, read(dy + at, left) * (s + z * slope), left, streaming)


@Twins
def _silu_backward(dy, x, dx, streaming):
    dy_at, x_at, dx_at = dy.ctypes.data, x.ctypes.data, dx.ctypes.data
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        at, n = 4 * chunk * CHUNK, min(CHUNK, len(x) - chunk * CHUNK)
        _silu_backward_chunk(dy_at + at, x_at + at, dx_at + at, n, streaming)
        if streaming:
            fence()


@silu_backward.implement("numba", dtypes=("float32",))
def silu_backward_numba(dy, x, *, out=None):
    dx = room_for(out, x.shape)
    flat = dx.reshape(-1)
    _silu_backward(x.size, as_carray(dy).reshape(-1), as_carray(x).reshape(-1), flat, streams(flat))
    return deliver(dx, out)


@jit
def _gate_row(gate, up, y, n, streaming):
    for i in range(0, n, LANES):
        at, left = 4 * i, n - i
        z = read(gate + at, left)
        put(y + at, z * sigmoid(z) * read(up + at, left), left, streaming)


@Twins
def _swiglu(rows, columns, gate, up, y, streaming):
    """Of each array the address and the bytes from row to row."""
    for part in prange(PARTS):
        for i in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            _gate_row(gate[0] + i * gate[1], up[0] + i * up[1], y[0] + i * y[1], columns, streaming)
        if streaming:
            fence()


@swiglu.implement("numba", dtypes=("float32",))
def swiglu_numba(gate, up, *, out=None):
    y = _room(out, gate.shape)
    arrays = in_rows(gate), in_rows(up), in_rows(y)
    _swiglu(gate.size, *arrays[0].shape, *map(_place, arrays), streams(arrays[2]))
    return deliver(y, out)


@jit
def _gate_row_backward(dy, gate, up, dgate, dup, n, streaming):
    for i in range(0, n, LANES):
        at, left = 4 * i, n - i
        z, d = read(gate + at, left), read(dy + at, left)
        s, slope = _sigmoid_and_slope(z)
        put(dgate + at, d * read(up + at, left) * (s + z * slope), left, streaming)
        put(dup + at, d * z * s, left, streaming)


@Twins
def _swiglu_backward(rows, columns, dy, gate, up, dgate, dup, streaming):
    """Of each array the address and the bytes from row to row."""
    for part in prange(PARTS):
        for i in range(part * rows // PARTS, (part + 1) * rows // PARTS):
            _gate_row_backward(
                dy[0] + i * dy[1],
                gate[0] + i * gate[1],
                up[0] + i * up[1],
                dgate[0] + i * dgate[1],
                dup[0] + i * dup[1],
                columns,
                streaming,
            )
        if streaming:
            fence()


@swiglu_backward.implement("numba", dtypes=("float32",))
def swiglu_backward_numba(dy, gate, up, *, out=None):
    outs = out if out is not None else (None, None)
    dgate, dup = [_room(o, gate.shape) for o in outs]
    arrays = in_rows(dy), in_rows(gate), in_rows(up), in_rows(dgate), in_rows(dup)
    _swiglu_backward(gate.size, *arrays[0].shape, *map(_place, arrays), streams(*arrays[3:]))
    return deliver(dgate, outs[0]), deliver(dup, outs[1])


def _room(out, shape):
    """`out` where its rows lie evenly spaced, so that they can be written in place, else a new array."""
    if out is not None and out.ndim != 2 and not np.may_share_memory(rows_of(out), out):
        out = None
    return room_in_rows(out, shape)


def _place(rows):
    """The address of a matrix, which its caller keeps alive, and the bytes from row to row."""
    return rows.__array_interface__["data"][0], rows.strides[0]
