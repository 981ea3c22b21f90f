"""The LSTM on the CPU: one kernel runs a whole sequence, for a share of the batch in each thread.

What does not wait for the step before it (the projection of all inputs, the gradients of the weights) is a
few large products. The recurrence is in sequence.py: rows of the batch do not depend on each other,
so that threads never meet between steps. With few rows or few steps the variant `numba_steps` takes over,
which calls the product at each step.
"""

import numba
import numpy as np
from numba import prange

from ..blas import matmul
from ..jit import Twins
from ..linear.cpu import linear_backward_bias_numba
from ..products import ROWS
from .reference import lstm, lstm_backward
from .sequence import (
    backward_floats,
    backward_rows,
    backward_step,
    forward_floats,
    forward_rows,
    forward_step,
    pack_block,
    pack_floats,
    pack_panel,
    panels,
)

# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 8
# A single row wastes most of the register tiles; it gains from them while the calls of each step cost more.
WIDE = 128


def _forward(places, lengths, shape, share):
    B, _, H = shape
    weights = np.empty(pack_floats(H), np.float32)
    for block in range(panels(H)):
        pack_block(weights, places, H, block)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(forward_floats(share, H), np.float32)
        forward_rows(scratch, weights, places, lengths, shape, chunk * share, min(share, B - chunk * share))


def _backward(places, lengths, shape, share):
    B, _, H = shape
    weights = np.empty(pack_floats(H), np.float32)
    for panel in range(panels(H)):
        pack_panel(weights, places, H, panel)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(backward_floats(share, H), np.float32)
        backward_rows(scratch, weights, places, lengths, shape, chunk * share, min(share, B - chunk * share))


_forward_twins, _backward_twins = Twins(_forward), Twins(_backward)


def _places(*arrays):
    """The addresses of contiguous arrays."""
    return np.array([a.ctypes.data for a in arrays], np.int64)


def _lengths(lengths, B, T):
    return np.full(B, T, np.int64) if lengths is None else lengths.astype(np.int64)


def _run(twins, lengths, B, T, H, *arrays):
    """Run a kernel over whole sequences, the batch split evenly over the threads."""
    if not (B and T and H):
        return
    # In whole register tiles. Rows do not depend on each other, nor their results on the share.
    share = -(-B // (numba.get_num_threads() * ROWS)) * ROWS
    work = 4 * B * T * H * H // MULTIPLY_ADDS
    twins(work, _places(*arrays), _lengths(lengths, B, T), (B, T, H), share)


def _few(x, w_input, w_hidden, bias, h0, c0, lengths=None):
    """Whether the recurrent matrix is used too few times to pack it."""
    return x.shape[1] == 1 or (x.shape[0] == 1 and w_hidden.shape[1] >= WIDE)


def _few_backward(dy, dh, dc, x, w_input, w_hidden, *rest):
    return x.shape[1] == 1 or (x.shape[0] == 1 and w_hidden.shape[1] >= WIDE)


def _project(x, w_input):
    """x W^T for all steps, as one product of matrices."""
    B, T, inputs = x.shape
    return matmul(x.reshape(B * T, inputs), w_input.T).reshape(B, T, len(w_input))


@lstm.implement("numba", dtypes=("float32",))
def lstm_numba(x, w_input, w_hidden, bias, h0, c0, lengths=None):
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    w_hidden, bias = np.ascontiguousarray(w_hidden), np.ascontiguousarray(bias)
    gates = _project(x, w_input)
    y, cells = np.empty((B, T, H), x.dtype), np.empty((B, T, H), x.dtype)
    h, c = np.array(h0, order="C"), np.array(c0, order="C")
    _run(_forward_twins, lengths, B, T, H, w_hidden, gates, cells, y, bias, h, c)
    return y, h, c, gates, cells


@lstm_backward.implement("numba", dtypes=("float32",))
def lstm_backward_numba(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None):
    B, T, H = y.shape
    dy, w_hidden, c0, gates, cells = (np.ascontiguousarray(a) for a in (dy, w_hidden, c0, gates, cells))
    da, dh0, dc0 = np.empty((B, T, 4 * H), x.dtype), np.array(dh, order="C"), np.array(dc, order="C")
    _run(_backward_twins, lengths, B, T, H, w_hidden, gates, cells, dy, c0, dh0, dc0, da)
    return *_gradients_of_weights(da, x, w_input, h0, y), dh0, dc0


def _gradients_of_weights(da, x, w_input, h0, y):
    """dx, dw_input, dw_hidden and dbias from the gradients by the gates before their activations."""
    B, T, H = y.shape
    flat, x = da.reshape(B * T, 4 * H), x.reshape(B * T, x.shape[2])
    # A row that has ended is not followed by a live one, so that its zeros in y never meet a gradient.
    hidden = np.concatenate([h0[:, None], y[:, :-1]], axis=1).reshape(B * T, H) if T else y.reshape(0, H)
    dx = matmul(flat, w_input).reshape(B, T, w_input.shape[1])
    # A sum of one term is no product of matrices: four times as fast.
    multiply = np.multiply if B * T == 1 else matmul
    return dx, multiply(flat.T, x), multiply(flat.T, hidden), linear_backward_bias_numba(flat)


@lstm.implement("numba_steps", dtypes=("float32",), when=_few)
def lstm_numba_steps(x, w_input, w_hidden, bias, h0, c0, lengths=None):
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    gates = _project(x, w_input)
    y, cells = np.empty((B, T, H), x.dtype), np.empty((B, T, H), x.dtype)
    bias, h, c = np.ascontiguousarray(bias), np.array(h0, order="C"), np.array(c0, order="C")
    sums = np.empty((B, 4 * H), x.dtype)
    places, lengths = _places(w_hidden, gates, cells, y, bias, h, c), _lengths(lengths, B, T)
    for t in range(T):
        matmul(h, w_hidden.T, sums)
        forward_step(sums.ctypes.data, places, lengths, (B, T, H), t)
    return y, h, c, gates, cells


@lstm_backward.implement("numba_steps", dtypes=("float32",), when=_few_backward)
def lstm_backward_numba_steps(dy, dh, dc, x, w_input, w_hidden, h0, c0, y, gates, cells, lengths=None):
    B, T, H = y.shape
    dy, c0, gates, cells = (np.ascontiguousarray(a) for a in (dy, c0, gates, cells))
    da, step = np.empty((B, T, 4 * H), x.dtype), np.empty((B, 4 * H), x.dtype)
    dh, dc = np.array(dh, order="C"), np.array(dc, order="C")
    places = _places(w_hidden, gates, cells, dy, c0, dh, dc, da)
    last = _lengths(lengths, B, T)
    for t in range(T - 1, -1, -1):
        backward_step(step.ctypes.data, places, last, (B, T, H), t)
        if lengths is None:
            matmul(step, w_hidden, dh)
        else:
            dh[t < lengths] = matmul(step, w_hidden)[t < lengths]
    return *_gradients_of_weights(da, x, w_input, h0, y), dh, dc
