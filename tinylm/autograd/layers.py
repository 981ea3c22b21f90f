"""Differentiable functions on top of the kernels: what the layers of a language model are made of."""

from __future__ import annotations

import numpy as np

import tinylm_kernels as K
from tinylm_kernels import array_module

from .elementwise import unbroadcast
from .tensor import differentiable

__all__ = [
    "attention",
    "dropout",
    "embedding",
    "gelu",
    "gru",
    "layer_norm",
    "linear",
    "log_softmax",
    "lstm",
    "matmul",
    "self_attention",
    "softmax",
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


@differentiable
def linear(x, weight, bias=None, residual=None):
    """x W^T + b + r: x (..., I), weight (O, I), bias (O,) or None, residual (..., O) or None."""

    def pullback(dy):
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
    return y, lambda dy: K.layer_norm_backward(dy, x, weight, mean, rstd)


@differentiable
def gelu(x, *, exact=False):
    """The Gaussian error linear unit, in its tanh form or, exact, x times the normal distribution function."""
    return K.gelu(x, exact=exact), lambda dy: (K.gelu_backward(dy, x, exact=exact),)


@differentiable
def embedding(table, ids):
    """table[ids]: table (V, C), ids integers of any shape."""
    return K.embedding(table, ids), lambda dy: (
        lambda out, accumulate: K.embedding_backward(dy, ids, rows=len(table), out=out, accumulate=accumulate),
        None,
    )


@differentiable
def attention(q, k, v, key_mask=None, *, causal, scale=None):
    """softmax(scale q k^T + mask) v for q (B, H, T, D) and k, v (B, H, S, D); see `tinylm_kernels.attention`."""
    y, log_sum_exp = K.attention(q, k, v, key_mask, causal=causal, scale=scale)

    def pullback(dy):
        gradients = K.attention_backward(dy, q, k, v, y, log_sum_exp, key_mask, causal=causal, scale=scale)
        return (*gradients, None)

    return y, pullback


@differentiable
def self_attention(qkv, key_mask=None, *, heads, causal):
    """Attention of a sequence to itself, from one fused projection, with no copy on the way in or out.

    qkv: (B, T, 3C), the queries, keys and values of all heads beside each other; key_mask: (B, T) bool or None.
    Returns (B, T, C).
    """
    xp = array_module(qkv)
    B, T, C3 = qkv.shape
    q, k, v = _split_heads(qkv, heads)
    y = xp.empty((B, T, heads, C3 // 3 // heads), qkv.dtype).transpose(0, 2, 1, 3)  # (B, H, T, D), heads innermost
    y, log_sum_exp = K.attention(q, k, v, key_mask, causal=causal, out=y)

    def pullback(dy):
        dqkv = xp.empty_like(qkv)
        dy = dy.reshape(B, T, heads, -1).transpose(0, 2, 1, 3)  # (B, H, T, D)
        K.attention_backward(dy, q, k, v, y, log_sum_exp, key_mask, causal=causal, out=_split_heads(dqkv, heads))
        return dqkv, None

    return y.transpose(0, 2, 1, 3).reshape(B, T, C3 // 3), pullback


def _split_heads(qkv, heads):
    """Views of q, k and v, (B, H, T, D) each, into (B, T, 3C)."""
    B, T, C3 = qkv.shape
    return tuple(qkv.reshape(B, T, 3, heads, C3 // 3 // heads).transpose(2, 0, 3, 1, 4))


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
