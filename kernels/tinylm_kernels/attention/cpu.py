"""Attention on the CPU: scores in tiles that stay in the cache, never as a whole matrix. Memory is O(T).

Arrays are handed over as addresses and strides, so that views into a fused projection are used where they lie
and one compiled kernel serves them all. The tiles are in tiles.py, few queries (decoding) in rows.py.
Source: Dao et al. 2022, arXiv:2205.14135.
"""

import numpy as np
from numba import prange

from ..jit import Twins
from .reference import attention, attention_backward
from .rows import forward_row, row_floats
from .tiles import QUERIES, backward_floats, backward_head, forward_floats, forward_tile

# With fewer queries than this the tiles, 16 queries wide at least, compute mostly padding.
FEW = 5
# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 8

_EVERY_KEY = np.zeros((0, 0), np.bool_)


def _forward(places, key_mask, shape, causal, scale):
    B, H, T, _, D = shape
    tiles = (T + QUERIES - 1) // QUERIES
    for task in prange(B * H * tiles):
        head, tile = task // tiles, task % tiles
        scratch = np.empty(forward_floats(D), np.float32)
        forward_tile(scratch, places, key_mask, shape, causal, scale, head // H, head % H, tile * QUERIES)


def _forward_few(places, key_mask, shape, causal, scale):
    B, H, T, _, D = shape
    for task in prange(B * H * T):
        head, t = task // T, task % T
        scratch = np.empty(row_floats(D), np.float32)
        forward_row(scratch, places, key_mask, shape, causal, scale, head // H, head % H, t)


def _backward(places, key_mask, shape, causal, scale):
    B, H, _, S, D = shape
    for head in prange(B * H):
        scratch = np.empty(backward_floats(S, D), np.float32)
        backward_head(scratch, places, key_mask, shape, causal, scale, head // H, head % H)


_forward_twins, _few_twins, _backward_twins = Twins(_forward), Twins(_forward_few), Twins(_backward)


def _rows_of_floats(a):
    """The array, or a copy, with its last axis contiguous."""
    return a if a.strides[-1] == 4 or a.shape[-1] == 1 else np.ascontiguousarray(a)


def _places(*arrays):
    """Per array its address and its strides by batch row, head and token, in bytes."""
    return np.array([(a.ctypes.data, *a.strides[:3]) for a in arrays], np.int64)


def _settings(q, k, key_mask, causal, scale):
    B, H, T, D = q.shape
    # Numba would compile all anew for an array that is read-only or not contiguous.
    mask = _EVERY_KEY if key_mask is None else np.require(key_mask, requirements=["C", "W"])
    scale = np.float32(D**-0.5 if scale is None else scale)
    return mask, (B, H, T, k.shape[2], D), bool(causal), scale


def _result(out, like):
    """An array for a result: `out`, if rows can be written to it."""
    return out if out is not None and _rows_of_floats(out) is out else np.empty(like.shape, like.dtype)


@attention.implement("numba", dtypes=("float32",))
def attention_numba(q, k, v, key_mask=None, *, causal, scale=None, out=None):
    mask, shape, causal, scale = _settings(q, k, key_mask, causal, scale)
    q, k, v = (_rows_of_floats(a) for a in (q, k, v))
    B, H, T, S, D = shape
    y, log_sum_exp = _result(out, q), np.empty((B, H, T, 1), np.float32)
    twins = _few_twins if T < FEW else _forward_twins
    twins(B * H * T * S * D // MULTIPLY_ADDS, _places(q, k, v, y, log_sum_exp), mask, shape, causal, scale)
    if out is not None and y is not out:
        out[...] = y
        y = out
    return y, log_sum_exp[..., 0]


@attention_backward.implement("numba", dtypes=("float32",))
def attention_backward_numba(dy, q, k, v, y, log_sum_exp, key_mask=None, *, causal, scale=None, out=None):
    mask, shape, causal, scale = _settings(q, k, key_mask, causal, scale)
    dy, q, k, v, y = (_rows_of_floats(a) for a in (dy, q, k, v, y))
    B, H, T, S, D = shape
    outs = out if out is not None else (None, None, None)
    results = [_result(o, like) for o, like in zip(outs, (q, k, v), strict=True)]
    places = _places(q, k, v, y, log_sum_exp[..., None], dy, *results)
    _backward_twins(3 * B * H * T * S * D // MULTIPLY_ADDS, places, mask, shape, causal, scale)
    for o, result in zip(outs, results, strict=True):
        if o is not None and result is not o:
            o[...] = result
    return tuple(result if o is None else o for o, result in zip(outs, results, strict=True))
