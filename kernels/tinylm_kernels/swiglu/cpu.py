"""SiLU and SwiGLU in Numba: one exp and one division make an element, which stays in a register.

The halves of a fused projection are rows of a wider array: the kernels step from row to row, and copy nothing.
"""

from functools import partial

import numpy as np
from numba import prange

from ..jit import EXACT, Twins, as_carray, deliver, jit, room_for
from ..simd import exp, minimum, sigmoid
from ..strided import flat_and_steps, room_in_rows, rows_of
from .reference import silu, silu_backward, swiglu, swiglu_backward

ZERO, ONE = np.float32(0), np.float32(1)


@jit(fastmath=EXACT, forceinline=True)
def _sigmoid_and_slope(x):
    """s = 1 / (1 + e^-x) and s (1 - s), through e^-|x|: nothing overflows, and 1 - s does not cancel."""
    power = exp(minimum(x, -x))
    larger = ONE / (ONE + power)
    smaller = power * larger
    return (smaller if x < ZERO else larger), smaller * larger


@partial(Twins, fastmath=EXACT)
def _silu(x, y):
    for i in prange(len(x)):
        y[i] = x[i] * sigmoid(x[i])


@silu.implement("numba", dtypes=("float32",))
def silu_numba(x, *, out=None):
    y = room_for(out, x.shape)
    _silu(x.size, as_carray(x).reshape(-1), y.reshape(-1))
    return deliver(y, out)


@partial(Twins, fastmath=EXACT)
def _silu_backward(dy, x, dx):
    for i in prange(len(x)):
        s, slope = _sigmoid_and_slope(x[i])
        dx[i] = dy[i] * (s + x[i] * slope)


@silu_backward.implement("numba", dtypes=("float32",))
def silu_backward_numba(dy, x, *, out=None):
    dx = room_for(out, x.shape)
    _silu_backward(x.size, as_carray(dy).reshape(-1), as_carray(x).reshape(-1), dx.reshape(-1))
    return deliver(dx, out)


@jit(forceinline=True)
def _row(memory, step, i, columns):
    return memory[i * step : i * step + columns]


@jit(fastmath=EXACT, forceinline=True)
def _gate_row(gate, up, y):
    for j in range(len(y)):
        y[j] = gate[j] * sigmoid(gate[j]) * up[j]


@partial(Twins, fastmath=EXACT)
def _swiglu(rows, columns, gate, gate_step, up, up_step, y, y_step):
    for i in prange(rows):
        _gate_row(
            _row(gate, gate_step, i, columns),
            _row(up, up_step, i, columns),
            _row(y, y_step, i, columns),
        )


@swiglu.implement("numba", dtypes=("float32",))
def swiglu_numba(gate, up, *, out=None):
    y = _room(out, gate.shape)
    _swiglu(gate.size, *_shape(gate), *_places(gate, up, y))
    return deliver(y, out)


@jit(fastmath=EXACT, forceinline=True)
def _gate_row_backward(dy, gate, up, dgate, dup):
    for j in range(len(dy)):
        s, slope = _sigmoid_and_slope(gate[j])
        d = dy[j]
        dgate[j] = d * up[j] * (s + gate[j] * slope)
        dup[j] = d * gate[j] * s


@partial(Twins, fastmath=EXACT)
def _swiglu_backward(
    rows, columns, dy, dy_step, gate, gate_step, up, up_step, dgate, dgate_step, dup, dup_step
):  # fmt: skip
    for i in prange(rows):
        _gate_row_backward(
            _row(dy, dy_step, i, columns),
            _row(gate, gate_step, i, columns),
            _row(up, up_step, i, columns),
            _row(dgate, dgate_step, i, columns),
            _row(dup, dup_step, i, columns),
        )


@swiglu_backward.implement("numba", dtypes=("float32",))
def swiglu_backward_numba(dy, gate, up, *, out=None):
    outs = out if out is not None else (None, None)
    results = [_room(o, gate.shape) for o in outs]
    _swiglu_backward(gate.size, *_shape(gate), *_places(dy, gate, up, *results))
    return tuple(deliver(result, o) for result, o in zip(results, outs, strict=True))


def _shape(gate):
    """Rows and columns."""
    columns = gate.shape[-1]
    return gate.size // max(columns, 1), columns


def _room(out, shape):
    """`out` where its rows lie evenly spaced, so that they can be written in place, else a new array."""
    return room_in_rows(out if out is not None and np.may_share_memory(rows_of(out), out) else None, shape)


def _places(*arrays):
    """Of each array its flat memory and the step from row to row."""
    places = []
    for a in arrays:
        flat, steps = flat_and_steps(rows_of(a))
        places += flat, steps[0]
    return places
