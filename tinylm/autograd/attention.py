"""Attention as differentiable functions: of heads apart, and of heads that lie beside each other in a projection.

The settings are those of `tinylm_kernels.attention`, which says what they mean.
"""

from __future__ import annotations

import tinylm_kernels as K
from tinylm_kernels import array_module

from .elementwise import into
from .tensor import differentiable

__all__ = ["attention", "cross_attention", "self_attention"]


@differentiable
def attention(
    q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None
):  # fmt: skip
    """softmax(scale q k^T + bias) v for q (B, H, T, D), k (B, G, S, D) and v (B, G, S, E): (B, H, T, E).

    key_mask: (B, S) bool; bias: (B, H, T, S), 1 in place of any of them; offsets: (B,) integers. Gradients flow to q,
    k, v and a bias of floats.
    """
    settings = {"causal": causal, "window": window, "softcap": softcap, "scale": scale}
    y, log_sum_exp = K.attention(q, k, v, key_mask, bias, offsets, **settings)

    def pullback(dy):
        saved = (dy, q, k, v, y, log_sum_exp, key_mask, bias, offsets)
        return *K.attention_backward(*saved, **settings), None, _bias_gradient(saved, settings), None

    return y, pullback


@differentiable
def self_attention(
    qkv, key_mask=None, bias=None, cos=None, sin=None, positions=None,
    *, heads, kv_heads=None, value_width=None, causal, window=None, softcap=None, scale=None,
):  # fmt: skip
    """Attention of a sequence to itself, from one fused projection, with no copy on the way in or out.

    qkv: (B, T, H D + G D + G E), the queries of all H heads beside each other, then the keys and the values of the G
    kv_heads, as many as heads unless given; E, the value_width, is D unless given. key_mask: (B, T) bool or None;
    bias: see `attention`. cos, sin: (T or more, R / 2), rotary positions by which queries and keys turn first, and
    positions: (B, T), their rows if not one after the other; see `tinylm_kernels.rope`. Returns (B, T, H E).
    """
    groups = kv_heads or heads
    D = _head_width(qkv, heads, groups, value_width)
    E = D if value_width is None else value_width
    _check_width("self_attention", "qkv", qkv, (heads + groups) * D + groups * E)
    settings = {"causal": causal, "window": window, "softcap": softcap, "scale": scale}
    q, k, v = _turned(qkv, heads, groups, D, cos, sin, positions)
    y, backward = _attend(q, k, v, key_mask, bias, settings)

    def pullback(dy):
        dqkv = K.empty_like(qkv)
        dq, dk, dv = _queries_keys_values(dqkv, heads, groups, D)
        if cos is None:
            return dqkv, None, backward(dy, (dq, dk, dv)), None, None, None
        turned = K.empty((len(qkv), heads + groups, qkv.shape[1], D), qkv.dtype)
        dbias = backward(dy, (turned[:, :heads], turned[:, heads:], dv))
        own = _heads(dqkv[..., : (heads + groups) * D], heads + groups)
        K.rope(turned, cos, sin, positions, inverse=True, out=own)
        return dqkv, None, dbias, None, None, None

    return y, pullback


@differentiable
def cross_attention(
    q, kv, key_mask=None, bias=None, *, heads, kv_heads=None, causal=False, window=None, softcap=None, scale=None
):  # fmt: skip
    """Attention of one sequence to another: q (B, T, H D) of the first, kv (B, S, G D + G E) of the second.

    Heads lie beside each other, the keys of all before the values; key_mask: (B, S). Returns (B, T, H E).
    """
    groups, D = kv_heads or heads, q.shape[-1] // heads
    _check_width("cross_attention", "q", q, heads * D)
    _check_width("cross_attention", "kv", kv, groups * (kv.shape[-1] // groups))
    settings = {"causal": causal, "window": window, "softcap": softcap, "scale": scale}
    y, backward = _attend(_heads(q, heads), *_keys_values(kv, groups, D), key_mask, bias, settings)

    def pullback(dy):
        dq, dkv = K.empty_like(q), K.empty_like(kv)
        dbias = backward(dy, (_heads(dq, heads), *_keys_values(dkv, groups, D)))
        return dq, dkv, None, dbias

    return y, pullback


def _attend(q, k, v, key_mask, bias, settings):
    """(y, backward): y (B, T, H E), and what writes the gradients to views like q, k, v and returns the bias's."""
    B, H, T, _ = q.shape
    merged = array_module(q).empty((B, T, H * v.shape[3]), q.dtype)
    y, log_sum_exp = K.attention(q, k, v, key_mask, bias, out=_heads(merged, H), **settings)

    def backward(dy, out):
        saved = (_heads(dy, H), q, k, v, y, log_sum_exp, key_mask, bias)
        K.attention_backward(*saved, out=out, **settings)
        return _bias_gradient(saved, settings)

    return merged, backward


def attention_scores(operation, *, stage="weights"):
    """The scores (B, H, T, S) of an attention as an observer saw it, computed again.

    operation: an `Operation` of one of the functions above. stage: see `tinylm_kernels.attention_scores`; by default
    the weights, which are the attention map.
    """
    settings, offsets = dict(operation.settings), None
    heads, E = settings.pop("heads", 0), settings.pop("value_width", None)
    groups = settings.pop("kv_heads", None) or heads
    if operation.name == "attention":
        q, k, _, key_mask, bias, offsets = _padded(operation.inputs, 6)
    elif operation.name == "self_attention":
        qkv, key_mask, bias, *turn = _padded(operation.inputs, 6)
        q, k, _ = _turned(qkv, heads, groups, _head_width(qkv, heads, groups, E), *turn)
    else:
        queries, kv, key_mask, bias = _padded(operation.inputs, 4)
        q, (k, _) = _heads(queries, heads), _keys_values(kv, groups, queries.shape[-1] // heads)
    return K.attention_scores(q, k, key_mask, bias, offsets, stage=stage, **{"causal": False, **settings})


def _bias_gradient(saved, settings):
    return lambda out, accumulate: into(out, accumulate, K.attention_backward_bias(*saved, **settings))


def _heads(x, heads):
    """A view (B, H, T, D) of (B, T, H D)."""
    return x.reshape(*x.shape[:2], heads, x.shape[-1] // heads).transpose(0, 2, 1, 3)


def _keys_values(kv, groups, D):
    """Views of k and v in (B, S, G D + G E)."""
    return _heads(kv[..., : groups * D], groups), _heads(kv[..., groups * D :], groups)


def _queries_keys_values(qkv, heads, groups, D):
    """Views of q, k and v in (B, T, H D + G D + G E)."""
    return _heads(qkv[..., : heads * D], heads), *_keys_values(qkv[..., heads * D :], groups, D)


def _padded(inputs, count):
    """The inputs of an operation, None for those that its caller left out."""
    return (*inputs, *(None,) * (count - len(inputs)))


def _head_width(qkv, heads, groups, value_width):
    """D of (B, T, H D + G D + G E), where E is D unless given."""
    width = qkv.shape[-1]
    return width // (heads + 2 * groups) if value_width is None else (width - groups * value_width) // (heads + groups)


def _turned(qkv, heads, groups, D, cos, sin, positions):
    """Views of q, k and v in (B, T, H D + G D + G E), or with rotary positions turned copies of q and k."""
    if cos is None:
        return _queries_keys_values(qkv, heads, groups, D)
    both = (heads + groups) * D  # queries and keys lie beside each other, and turn in one pass
    turned = K.rope(_heads(qkv[..., :both], heads + groups), cos, sin, positions)
    return turned[:, :heads], turned[:, heads:], _heads(qkv[..., both:], groups)


def _check_width(operation, name, x, expected):
    if x.shape[-1] != expected:
        raise ValueError(f"{operation}: {name} has {x.shape[-1]} channels, which do not divide into the heads")
