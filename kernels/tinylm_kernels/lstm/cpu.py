"""The LSTM on the CPU: one kernel runs a whole sequence, for a share of the batch in each thread."""

import numpy as np
from numba import prange

from ..blas import matmul
from ..jit import Twins
from ..linear.cpu import linear_backward_bias_numba
from ..pool import empty
from ..recurrence import states_before
from ..recurrence_cpu import (
    is_short,
    launch,
    pack_backward,
    pack_floats,
    pack_forward,
    panels,
    places,
    project,
    steps_of,
    weight_gradient,
)
from .reference import lstm, lstm_backward, peephole_gradient
from .sequence import backward_floats, backward_rows, backward_step, forward_floats, forward_rows, forward_step

GATES = 4


def _forward(table, lengths, shape, share):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in range(GATES * panels(H)):
        pack_forward(weights, table[0], H, n)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(forward_floats(share, H), np.float32)
        forward_rows(scratch, weights, table, lengths, shape, chunk * share, min(share, B - chunk * share))


def _backward(table, lengths, shape, share):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in range(panels(H)):
        pack_backward(weights, table[0], GATES, H, n)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(backward_floats(share, H), np.float32)
        backward_rows(scratch, weights, table, lengths, shape, chunk * share, min(share, B - chunk * share))


_forward_twins, _backward_twins = Twins(_forward), Twins(_backward)


def _contiguous(*arrays):
    return (None if a is None else np.ascontiguousarray(a) for a in arrays)


def _short(x, w_input, w_hidden, *rest):
    return is_short(*x.shape[:2], w_hidden.shape[1])


def _short_backward(dy, *rest):
    return is_short(*dy.shape)


@lstm.implement("numba", dtypes=("float32",))
def lstm_numba(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    w_hidden, bias, peepholes = _contiguous(w_hidden, bias, peepholes)
    gates = project(x, w_input)
    y, cells = empty((B, T, H)), empty((B, T, H))
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    launch(_forward_twins, GATES, lengths, y.shape, places(w_hidden, gates, cells, h, c, peepholes, y, bias))
    return y, h, c, gates, cells


@lstm_backward.implement("numba", dtypes=("float32",))
def lstm_backward_numba(
    dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None
):  # fmt: skip
    dy, w_hidden, c0, gates, cells, peepholes = _contiguous(dy, w_hidden, c0, gates, cells, peepholes)
    da, dh0, dc0 = empty(gates.shape), np.array(dh, order="C"), np.array(dc, order="C")
    table = places(w_hidden, gates, cells, dh0, dc0, peepholes, dy, c0, da)
    launch(_backward_twins, GATES, lengths, y.shape, table)
    return *_gradients_of_weights(da, x, w_input, h0, y), dh0, dc0, *peephole_gradient(da, c0, cells, peepholes)


def _gradients_of_weights(da, x, w_input, h0, y):
    """dx, dw_input, dw_hidden and dbias from the gradients by the gates before their activations."""
    B, T, H = y.shape
    flat, x = da.reshape(B * T, GATES * H), x.reshape(B * T, x.shape[2])
    dx = matmul(flat, w_input).reshape(B, T, w_input.shape[1])
    dw_hidden = weight_gradient(flat, states_before(h0, y))
    return dx, weight_gradient(flat, x), dw_hidden, linear_backward_bias_numba(flat)


@lstm.implement("numba_steps", dtypes=("float32",), when=_short)
def lstm_numba_steps(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    gates = project(x, w_input)
    y, cells = empty((B, T, H)), empty((B, T, H))
    bias, peepholes = _contiguous(bias, peepholes)
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    sums = np.empty((B, GATES * H), x.dtype)
    table, steps = places(w_hidden, gates, cells, h, c, peepholes, y, bias), steps_of(lengths, B, T)
    for t in range(T):
        matmul(h, w_hidden.T, sums)
        forward_step(sums.ctypes.data, table, steps, (B, T, H), t)
    return y, h, c, gates, cells


@lstm_backward.implement("numba_steps", dtypes=("float32",), when=_short_backward)
def lstm_backward_numba_steps(
    dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None
):  # fmt: skip
    B, T, H = y.shape
    dy, c0, gates, cells, peepholes = _contiguous(dy, c0, gates, cells, peepholes)
    da, step = empty(gates.shape), np.empty((B, GATES * H), x.dtype)
    dh, dc = np.array(dh, order="C"), np.array(dc, order="C")
    table, steps = places(w_hidden, gates, cells, dh, dc, peepholes, dy, c0, da), steps_of(lengths, B, T)
    for t in range(T - 1, -1, -1):
        backward_step(step.ctypes.data, table, steps, (B, T, H), t)
        if lengths is None:
            matmul(step, w_hidden, dh)
        else:
            dh[t < lengths] = matmul(step, w_hidden)[t < lengths]
    return *_gradients_of_weights(da, x, w_input, h0, y), dh, dc, *peephole_gradient(da, c0, cells, peepholes)
