"""Differentiable functions on top of the kernels: what the layers of a language model are made of."""

from __future__ import annotations

from functools import partial

import numpy as np

import tinylm_kernels as K
from tinylm_kernels import array_module

from .elementwise import unbroadcast
from .tensor import differentiable

__all__ = [
    "dropout",
    "embedding",
    "fused_swiglu",
    "gelu",
    "gru",
    "layer_norm",
    "linear",
    "log_softmax",
    "lstm",
    "matmul",
    "rms_norm",
    "rope",
    "silu",
    "softmax",
    "swiglu",
]


@differentiable
def matmul(a, b):
    """The matrix product, over the last two axes with broadcasting of the others, or of vectors."""
    xp = array_module(a)

    def pullback(dy):
        a2 = a[None, :] if a.ndim == 1 else a
        b2 = b[:, None] if b.ndim == 1 else b
        batch = np.broadcast_shapes(a2.shape[:-2], b2.shape[:-2])
        dy2 = xp.reshape(dy, (*batch, a2.shape[-2], b2.shape[-1]))
        da = unbroadcast(xp.matmul(dy2, b2.swapaxes(-1, -2)), a2)
        db = unbroadcast(xp.matmul(a2.swapaxes(-1, -2), dy2), b2)
        return da.reshape(a.shape), db.reshape(b.shape)

    return xp.asarray(xp.matmul(a, b)), pullback


@differentiable(hands_back=0)
def linear(x, weight, bias=None, residual=None):
    """x W^T + b + r: x (..., I), weight (O, I), bias (O,) or None, residual (..., O) or None."""

    def pullback(dy, x):
        def by_x(out, accumulate):
            dx = K.linear_backward_input(dy, weight, out=None if accumulate else out)
            return xp.add(out, dx, out=out) if accumulate else dx

        return (
            by_x,
            lambda out, accumulate: K.linear_backward_weight(dy, x, out=out, accumulate=accumulate),
            lambda out, accumulate: K.linear_backward_bias(dy, out=out, accumulate=accumulate),
            dy,
        )

    xp = array_module(x)
    return K.linear(x, weight, bias, residual), pullback


@differentiable
def softmax(x, *, axis=-1):
    """exp(x) / sum exp(x) along an axis."""
    y = K.softmax(x.swapaxes(axis, -1))
    return y.swapaxes(axis, -1), lambda dy: (K.softmax_backward(dy.swapaxes(axis, -1), y).swapaxes(axis, -1),)


@differentiable
def log_softmax(x, *, axis=-1):
    """log(softmax(x)) along an axis, without the rounding of the two apart."""
    xp = array_module(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    y = shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
    return y, lambda dy: (dy - xp.exp(y) * dy.sum(axis=axis, keepdims=True),)


@differentiable
def layer_norm(x, weight, bias, *, eps=1e-5):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis."""
    y, mean, rstd = K.layer_norm(x, weight, bias, eps=eps)
    return (
        y,
        lambda dy: K.layer_norm_backward(dy, x, weight, mean, rstd),
        lambda: K.layer_norm(x, weight, bias, eps=eps)[0],
    )


@differentiable
def rms_norm(x, weight, *, eps=1e-5):
    """x / sqrt(mean x^2 + eps) * weight over the last axis."""
    y, rstd = K.rms_norm(x, weight, eps=eps)
    return y, lambda dy: K.rms_norm_backward(dy, x, weight, rstd), lambda: K.rms_norm(x, weight, eps=eps)[0]


@differentiable
def gelu(x, *, exact=False):
    """The Gaussian error linear unit, in its tanh form or, exact, x times the normal distribution function."""
    again = partial(K.gelu, x, exact=exact)
    return again(), lambda dy: (K.gelu_backward(dy, x, exact=exact),), again


@differentiable
def silu(x):
    """x / (1 + e ** -x)."""
    again = partial(K.silu, x)
    return again(), lambda dy: (K.silu_backward(dy, x),), again


@differentiable
def swiglu(gate, up):
    """silu(gate) * up, for two arrays of one shape."""
    again = partial(K.swiglu, gate, up)
    return again(), lambda dy: K.swiglu_backward(dy, gate, up), again


@differentiable
def fused_swiglu(x):
    """silu(gate) * up for one array (..., 2 F) of gate and up beside each other, with no copy of either: (..., F)."""
    if x.shape[-1] % 2:
        raise ValueError(f"fused_swiglu: x has {x.shape[-1]} columns, which do not divide into a gate and another half")
    gate, up = _halves(x)

    def pullback(dy):
        dx = K.empty_like(x)
        K.swiglu_backward(dy, gate, up, out=_halves(dx))
        return (dx,)

    again = partial(K.swiglu, gate, up)
    return again(), pullback, again


def _halves(x):
    columns = x.shape[-1] // 2
    return x[..., :columns], x[..., columns:]


@differentiable
def rope(x, cos, sin, positions=None, *, interleaved=False):
    """Rotary positions: pairs of the columns of x (B, H, T, D) turned by the angles of their position.

    cos, sin: arrays (P, R / 2), of a row for each position; no gradient flows to them. positions: (B, T) integers, by
    default 0..T-1; see `tinylm_kernels.rope`.
    """

    def pullback(dy):
        return K.rope(dy, cos, sin, positions, interleaved=interleaved, inverse=True), None, None, None

    return K.rope(x, cos, sin, positions, interleaved=interleaved), pullback


@differentiable
def embedding(table, ids):
    """table[ids]: table (V, C), ids integers of any shape."""
    return K.embedding(table, ids), lambda dy: (
        lambda out, accumulate: K.embedding_backward(dy, ids, rows=len(table), out=out, accumulate=accumulate),
        None,
    )


@differentiable
def lstm(x, w_input, w_hidden, bias, h0, c0, lengths=None, peepholes=None):
    """One LSTM layer: (y, h, c) with all outputs (B, T, H) and the last state (B, H); see `tinylm_kernels.lstm`."""
    y, h, c, gates, cells = K.lstm(x, w_input, w_hidden, bias, h0, c0, lengths, peepholes)

    def pullback(dy, dh, dc):
        saved = x, w_input, w_hidden, h0, c0, y, gates, cells, lengths, peepholes
        gradients = K.lstm_backward(dy, dh, dc, *saved)
        return *gradients[:6], None, *(gradients[6:] or (None,))

    return (y, h, c), pullback


@differentiable
def gru(x, w_input, w_hidden, b_input, b_hidden, h0, lengths=None, *, reset_after=True):
    """One GRU layer: (y, h) with all outputs (B, T, H) and the last state (B, H); see `tinylm_kernels.gru`."""
    y, h, gates, inner = K.gru(x, w_input, w_hidden, b_input, b_hidden, h0, lengths, reset_after=reset_after)

    def pullback(dy, dh):
        saved = x, w_input, w_hidden, h0, y, gates, inner, lengths
        return *K.gru_backward(dy, dh, *saved, reset_after=reset_after), None

    return (y, h), pullback


@differentiable
def dropout(x, *, rate, seed, step, site, first_row=0):
    """x / (1 - rate) for a random 1 - rate of the elements, 0 for the others; see `tinylm_kernels.dropout`."""
    where = {"rate": rate, "seed": seed, "step": step, "site": site, "first_row": first_row}
    return K.dropout(x, **where), lambda dy: (K.dropout(dy, **where),)
