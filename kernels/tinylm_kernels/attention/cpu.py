"""Attention on the CPU: scores in tiles that stay in the cache, never as a whole matrix. Memory is O(T).

Arrays are handed over as addresses and strides, so that views into a fused projection are used where they lie
and one compiled kernel serves them all. The tiles are in tiles.py and gradients.py, few queries (decoding) in rows.py.
Source: Dao et al. 2022, arXiv:2205.14135.
"""

import numpy as np
from numba import prange

from ..jit import Twins
from ..pool import empty
from ..products import ALL
from .gradients import backward_floats, backward_head
from .reference import attention, attention_backward
from .rows import forward_row, row_floats
from .scores import reach
from .tiles import QUERIES, forward_floats, forward_tile

# With fewer queries than this the tiles, 16 queries wide at least, compute mostly padding.
FEW = 5
# Twins counts elements touched; about so many multiply-adds take the time of one.
MULTIPLY_ADDS = 8

_EVERY_KEY = np.zeros((0, 0), np.bool_)


def _forward(places, sight, shape, scoring):
    B, H, _, T, _, D, E = shape
    tiles = (T + QUERIES - 1) // QUERIES
    for task in prange(B * H * tiles):
        head, tile = task // tiles, task % tiles
        scratch = np.empty(forward_floats(D, E), np.float32)
        forward_tile(scratch, places, sight, shape, scoring, head // H, head % H, tile * QUERIES)


def _forward_few(places, sight, shape, scoring):
    B, H, _, T, _, D, E = shape
    for task in prange(B * H * T):
        head, t = task // T, task % T
        scratch = np.empty(row_floats(D, E), np.float32)
        forward_row(scratch, places, sight, shape, scoring, head // H, head % H, t)


def _backward(places, sight, shape, scoring):
    B, _, G, _, S, D, E = shape
    for head in prange(B * G):
        scratch = np.empty(backward_floats(S, D, E), np.float32)
        backward_head(scratch, places, sight, shape, scoring, head // G, head % G)


_forward_twins, _few_twins, _backward_twins = Twins(_forward), Twins(_forward_few), Twins(_backward)


def _rows_of_floats(a):
    """The array, or a copy, with its last axis contiguous."""
    return a if a.strides[-1] == 4 or a.shape[-1] == 1 else np.ascontiguousarray(a)


def _places(*arrays):
    """Per array its address and its strides by batch row, head and token, in bytes; zeros for None."""
    numbers = []  # a flat list makes an array in half the time that a list of rows takes
    for a in arrays:
        numbers += (0, 0, 0, 0) if a is None else (a.ctypes.data, *a.strides[:3])
    return np.array(numbers, np.int64).reshape(-1, 4)


def _sight(q, k, key_mask, offsets, causal, window):
    """(key_mask, offsets, left, right), as the tiles take it."""
    B, T, S = len(q), q.shape[2], k.shape[2]
    # Numba would compile all anew for an array that is read-only or not contiguous.
    mask = _EVERY_KEY if key_mask is None else np.require(key_mask, requirements=["C", "W"])
    starts = np.array([S - T] * B, np.int64) if offsets is None else np.array(offsets, np.int64)
    left, right = reach(causal, window)
    return mask, starts, *(int(ALL) if bound is None else bound for bound in (left, right))


def _shape(q, k, v):
    return (*q.shape[:2], k.shape[1], q.shape[2], *k.shape[2:], v.shape[3])


def _scoring(q, scale, softcap):
    return np.float32(q.shape[3] ** -0.5 if scale is None else scale), np.float32(softcap or 0)


def _whole_bias(bias, shape):
    """The bias as floats, (B, H, T, S), repeated without a copy but for the last axis."""
    if bias is None:
        return None
    B, H, _, T, S, *_ = shape
    if bias.dtype == bool:
        bias = np.where(bias, np.float32(0), np.float32(-np.inf))
    if bias.shape[3] != S:
        bias = np.repeat(bias, S, axis=3)
    return np.broadcast_to(_rows_of_floats(bias), (B, H, T, S))


def _result(out, shape):
    """An array for a result: `out`, if rows can be written to it."""
    return out if out is not None and _rows_of_floats(out) is out else empty(shape)


@attention.implement("numba", dtypes=("float32",))
def attention_numba(
    q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, out=None
):
    shape = B, H, _, T, S, D, E = _shape(q, k, v)
    sight, scoring = _sight(q, k, key_mask, offsets, causal, window), _scoring(q, scale, softcap)
    q, k, v = (_rows_of_floats(a) for a in (q, k, v))
    bias = _whole_bias(bias, shape)
    y, log_sum_exp = _result(out, (B, H, T, E)), empty((B, H, T, 1))
    twins = _few_twins if T < FEW else _forward_twins
    work = B * H * T * S * (D + E) // 2 // MULTIPLY_ADDS
    twins(work, _places(q, k, v, y, log_sum_exp, bias), sight, shape, scoring)
    if out is not None and y is not out:
        out[...] = y
        y = out
    return y, log_sum_exp[..., 0]


@attention_backward.implement("numba", dtypes=("float32",))
def attention_backward_numba(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None, out=None,
):  # fmt: skip
    shape = B, H, _, T, S, D, E = _shape(q, k, v)
    sight, scoring = _sight(q, k, key_mask, offsets, causal, window), _scoring(q, scale, softcap)
    dy, q, k, v, y = (_rows_of_floats(a) for a in (dy, q, k, v, y))
    bias = _whole_bias(bias, shape)
    outs = out if out is not None else (None, None, None)
    results = [_result(o, like.shape) for o, like in zip(outs, (q, k, v), strict=True)]
    places = _places(q, k, v, y, log_sum_exp[..., None], bias, dy, *results)
    _backward_twins(3 * B * H * T * S * (D + E) // 2 // MULTIPLY_ADDS, places, sight, shape, scoring)
    for o, result in zip(outs, results, strict=True):
        if o is not None and result is not o:
            o[...] = result
    return tuple(result if o is None else o for o, result in zip(outs, results, strict=True))
