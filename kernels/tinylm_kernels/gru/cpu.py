"""The GRU on the CPU: one kernel runs a whole sequence, for a share of the batch in each thread."""

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
    share_of,
    steps_of,
    weight_gradient,
)
from .reference import gru, gru_backward
from .sequence import (
    backward_floats,
    backward_rows,
    candidate_rows,
    forward_floats,
    forward_rows,
    reset_gradient_rows,
    reset_rows,
    update_gradient_rows,
)

GATES = 3


def _forward(table, after, lengths, shape, threads):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in prange(GATES * panels(H)):
        pack_forward(weights, table[0], H, n)
    share = share_of(B, threads)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(forward_floats(share, H), np.float32)
        forward_rows(scratch, weights, table, after, lengths, shape, chunk * share, min(share, B - chunk * share))


def _backward(table, after, lengths, shape, threads):
    B, _, H = shape
    weights = np.empty(pack_floats(GATES, H), np.float32)
    for n in prange(panels(H)):
        pack_backward(weights, table[0], GATES, H, n)
    share = share_of(B, threads)
    for chunk in prange((B + share - 1) // share):
        scratch = np.empty(backward_floats(share, H), np.float32)
        backward_rows(scratch, weights, table, after, lengths, shape, chunk * share, min(share, B - chunk * share))


_forward_twins, _backward_twins = Twins(_forward), Twins(_backward)


def _bias(b_input, b_hidden, H, reset_after):
    """(4H,), as the kernels take it: what r, z and n add, and what reset_after adds to the recurrent product of n."""
    bias = np.concatenate([b_input, b_hidden[2 * H :]])
    bias[: 2 * H] += b_hidden[: 2 * H]
    if not reset_after:
        bias[2 * H : 3 * H] += b_hidden[2 * H :]
    return bias


def _short(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    return is_short(*x.shape[:2], w_hidden.shape[1])


def _short_backward(dy, dh, *rest, reset_after=True):
    return is_short(*dy.shape)


@gru.implement("numba", dtypes=("float32",))
def gru_numba(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    B, T, _ = x.shape
    H = w_hidden.shape[1]
    w_hidden, bias = np.ascontiguousarray(w_hidden), _bias(b_input, b_hidden, H, reset_after)
    gates, h = project(x, w_input), np.array(h0, order="C")
    y, inner = empty((B, T, H)), empty((B, T, H))
    table = places(w_hidden, gates, inner, y, bias, h)
    launch(_forward_twins, GATES, lengths, (B, T, H), table, np.bool_(reset_after))
    return y, h, gates, inner


@gru_backward.implement("numba", dtypes=("float32",))
def gru_backward_numba(dy, dh, x, w_input, w_hidden, h0, y, gates, inner, lengths=None, *, reset_after=True):
    dy, w_hidden, h0, y, gates, inner = (np.ascontiguousarray(a) for a in (dy, w_hidden, h0, y, gates, inner))
    da, dinner, dh0 = empty(gates.shape), empty(inner.shape), np.array(dh, order="C")
    table = places(w_hidden, gates, inner, y, h0, dh0, dy, da, dinner)
    launch(_backward_twins, GATES, lengths, y.shape, table, np.bool_(reset_after))
    return *_gradients_of_weights(da, dinner, x, w_input, h0, y, inner, reset_after), dh0


def _gradients_of_weights(da, dinner, x, w_input, h0, y, inner, reset_after):
    """dx, dw_input, dw_hidden, db_input and db_hidden from the gradients before the activations."""
    B, T, H = y.shape
    flat, flat_inner, x = da.reshape(B * T, GATES * H), dinner.reshape(B * T, H), x.reshape(B * T, x.shape[2])
    hidden = states_before(h0, y)
    dx = matmul(flat, w_input).reshape(B, T, w_input.shape[1])
    dw_hidden = np.empty((GATES * H, H), y.dtype)
    weight_gradient(flat[:, : 2 * H], hidden, dw_hidden[: 2 * H])
    weight_gradient(flat_inner, hidden if reset_after else inner.reshape(B * T, H), dw_hidden[2 * H :])
    db_input = linear_backward_bias_numba(flat)
    db_hidden = np.concatenate([db_input[: 2 * H], linear_backward_bias_numba(flat_inner)])
    return dx, weight_gradient(flat, x), dw_hidden, db_input, db_hidden


@gru.implement("numba_steps", dtypes=("float32",), when=_short)
def gru_numba_steps(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    B, T, _ = x.shape
    H, after = w_hidden.shape[1], np.bool_(reset_after)
    bias, gates, h = _bias(b_input, b_hidden, H, reset_after), project(x, w_input), np.array(h0, order="C")
    y, inner, rh = empty((B, T, H)), empty((B, T, H)), np.empty((B, H), x.dtype)
    table, steps, shape = places(w_hidden, gates, inner, y, bias, h), steps_of(lengths, B, T), (B, T, H)
    together = GATES if reset_after else GATES - 1  # the gates whose products come first
    sums, sums_n = np.empty((B, together * H), x.dtype), np.empty((B, H), x.dtype)
    sums_at, sums_n_at, h_at, rh_at = (a.ctypes.data for a in (sums, sums_n, h, rh))
    for t in range(T):
        matmul(h, w_hidden[: together * H].T, sums)
        reset_rows(table, shape, t, 0, B, sums_at, together * H * 4, H * 4, h_at, H * 4, rh_at, after)
        if not reset_after:
            matmul(rh, w_hidden[2 * H :].T, sums_n)
        candidate_rows(table, steps, shape, t, 0, B, sums_n_at, H * 4, h_at, H * 4, h_at, after)
    return y, h, gates, inner


@gru_backward.implement("numba_steps", dtypes=("float32",), when=_short_backward)
def gru_backward_numba_steps(dy, dh, x, w_input, w_hidden, h0, y, gates, inner, lengths=None, *, reset_after=True):
    B, T, H = y.shape
    dy, h0, y, gates, inner = (np.ascontiguousarray(a) for a in (dy, h0, y, gates, inner))
    da, dinner, dh = empty(gates.shape), empty(inner.shape), np.array(dh, order="C")
    step, drh = np.empty((B, GATES * H), x.dtype), np.empty((B, H), x.dtype)
    table, steps, shape = places(w_hidden, gates, inner, y, h0, dh, dy, da, dinner), steps_of(lengths, B, T), y.shape
    together = GATES if reset_after else GATES - 1
    dh_at, drh_at, step_at = (a.ctypes.data for a in (dh, drh, step))
    for t in range(T - 1, -1, -1):
        update_gradient_rows(
            table, steps, shape, t, 0, B, dh_at, H * 4, dh_at, step_at, GATES * H * 4, np.bool_(reset_after)
        )
        if not reset_after:
            matmul(step[:, 2 * H :], w_hidden[2 * H :], drh)
            reset_gradient_rows(table, steps, shape, t, 0, B, drh_at, H * 4, dh_at, step_at, GATES * H * 4)
        back = matmul(step[:, : together * H], w_hidden[: together * H])
        dh += back if lengths is None else np.where((t < lengths)[:, None], back, 0)
    return *_gradients_of_weights(da, dinner, x, w_input, h0, y, inner, reset_after), dh
