"""The LSTM on the CPU: one kernel runs a whole sequence, for a share of the batch in each thread."""

import numpy as np
from numba import prange

from ..blas import matmul
from ..jit import Twins
from ..linear.cpu import linear_backward_bias_numba
from ..pool import empty
from ..products import ROWS
from ..recurrence import states_before
from ..recurrence_cpu import (
    WIDE,
    launch,
    pack_backward,
    pack_floats,
    pack_forward,
    panels,
    places,
    project,
    share_of,
    weight_gradient,
)
from ..relay import relay_size
from .reference import lstm, lstm_backward, peephole_gradient
from .sequence import backward_floats, backward_rows, forward_floats, forward_rows
from .units import (
    backward_units,
    begin_backward,
    begin_forward,
    end_backward,
    end_forward,
    forward_units,
    unit_parts,
)

GATES = 4


def _forward(table, lengths, shape, threads):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in prange(GATES * panels(H)):
        pack_forward(weights, table[0], H, n)
    share = share_of(B, threads)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(forward_floats(share, H), np.float32)
        forward_rows(scratch, weights, table, lengths, shape, chunk * share, min(share, B - chunk * share))


def _backward(table, lengths, shape, threads):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in prange(panels(H)):
        pack_backward(weights, table[0], GATES, H, n)
    share = share_of(B, threads)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(backward_floats(share, H), np.float32)
        backward_rows(scratch, weights, table, lengths, shape, chunk * share, min(share, B - chunk * share))


def _forward_units(table, source, lengths, shape, threads):
    _, _, H = shape
    scratch, relay = begin_forward(table, shape), np.zeros(relay_size(unit_parts(H)), np.int64)
    for thread in prange(threads):
        forward_units(scratch, relay, table, source, lengths, shape, thread * unit_parts(H) // threads)
    end_forward(scratch, table, shape)


def _backward_units(table, lengths, shape, threads):
    _, _, H = shape
    scratch, relay = begin_backward(table, shape), np.zeros(relay_size(unit_parts(H)), np.int64)
    for thread in prange(threads):
        backward_units(scratch, relay, table, lengths, shape, thread * unit_parts(H) // threads)
    end_backward(scratch, table, shape)


_forward_twins, _backward_twins = Twins(_forward), Twins(_backward)
_forward_units_twins, _backward_units_twins = Twins(_forward_units), Twins(_backward_units)


def _contiguous(*arrays):
    return (None if a is None else np.ascontiguousarray(a) for a in arrays)


def _is_narrow(B, T, H):
    """Whether a register tile is wider than the batch, so that units are shared; small layers gain only at one step."""
    return B < ROWS and (T == 1 or H >= WIDE)


def _narrow(x, w_input, w_hidden, *rest):
    return _is_narrow(*x.shape[:2], w_hidden.shape[1])


def _narrow_backward(dy, *rest):
    return _is_narrow(*dy.shape)


@lstm.implement("numba", dtypes=("float32",))
def lstm_numba(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    return _all_steps(_forward_twins, project(x, w_input), w_hidden, bias, h0, c0, lengths, peepholes)


@lstm.implement("numba_units", dtypes=("float32",), when=_narrow)
def lstm_numba_units(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    B, T, inputs = x.shape
    if T == 1:  # the kernel projects the input too: no launch for that alone
        x, w_input = _contiguous(x, w_input)
        gates, source = empty((B, T, len(w_input))), (x.ctypes.data, w_input.ctypes.data, inputs)
    else:
        gates, source = project(x, w_input), (0, 0, 0)
    return _all_steps(_forward_units_twins, gates, w_hidden, bias, h0, c0, lengths, peepholes, source)


def _all_steps(twins, gates, w_hidden, bias, h0, c0, lengths, peepholes, *more):
    B, T, _ = gates.shape
    H = w_hidden.shape[1]
    w_hidden, bias, peepholes = _contiguous(w_hidden, bias, peepholes)
    y, cells = empty((B, T, H)), empty((B, T, H))
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    launch(twins, GATES, lengths, y.shape, places(w_hidden, gates, cells, h, c, peepholes, y, bias), *more)
    return y, h, c, gates, cells


@lstm_backward.implement("numba", dtypes=("float32",))
def lstm_backward_numba(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None):
    return _all_steps_backward(
        _backward_twins, dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths, peepholes
    )


@lstm_backward.implement("numba_units", dtypes=("float32",), when=_narrow_backward)
def lstm_backward_numba_units(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None, peepholes=None):
    return _all_steps_backward(
        _backward_units_twins, dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths, peepholes
    )


def _all_steps_backward(twins, dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths, peepholes):
    dy, w_hidden, c0, gates, cells, peepholes = _contiguous(dy, w_hidden, c0, gates, cells, peepholes)
    da, dh0, dc0 = empty(gates.shape), np.array(dh, order="C"), np.array(dc, order="C")
    table = places(w_hidden, gates, cells, dh0, dc0, peepholes, dy, c0, da)
    launch(twins, GATES, lengths, y.shape, table)
    return *_gradients_of_weights(da, x, w_input, h0, y), dh0, dc0, *peephole_gradient(da, c0, cells, peepholes)


def _gradients_of_weights(da, x, w_input, h0, y):
    """dx, dw_input, dw_hidden and dbias from the gradients by the gates before their activations."""
    B, T, H = y.shape
    flat, x = da.reshape(B * T, GATES * H), x.reshape(B * T, x.shape[2])
    dx = matmul(flat, w_input).reshape(B, T, w_input.shape[1])
    dw_hidden = weight_gradient(flat, states_before(h0, y))
    return dx, weight_gradient(flat, x), dw_hidden, linear_backward_bias_numba(flat)
