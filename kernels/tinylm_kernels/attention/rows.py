"""Attention of a single query, as in decoding: one pass over its keys and values, which bounds the time."""

import numpy as np

from ..jit import jit
from ..vectors import LANES, LINE, aligned, exp, load, load_some, peek, poke, splat, store, total
from .tiles import KEYS, LOWEST, LSE, K, Q, V, Y, _finish_row, _place, padded


@jit
def _score_keys(places, key_mask, b, h, k0, keys, D, q, scale, s):
    """The scores of some keys, padded with -inf to whole vectors."""
    for r in range(0, keys, LANES):
        store(s + r * 4, splat(np.float32(-np.inf)))
    for r in range(keys):
        if key_mask.size and not key_mask[b, k0 + r]:
            continue
        at = _place(places, K, b, h, k0 + r)
        sums = splat(np.float32(0))
        for c in range(0, D, LANES):
            sums = sums + load(q + c * 4) * load_some(at + c * 4, D - c)
        poke(s + r * 4, total(sums) * scale)


@jit
def row_floats(D):
    """The size of the scratch array of `forward_row`."""
    return LINE + padded(D) // 4 * 2 + KEYS


@jit
def forward_row(scratch, places, key_mask, shape, causal, scale, b, h, t):
    """y and log_sum_exp of query t of one head; the softmax runs along over blocks of keys."""
    _, _, T, S, D = shape
    row = padded(D)
    q = aligned(scratch)
    o, s = q + row, q + 2 * row
    at = _place(places, Q, b, h, t)
    for c in range(0, D, LANES):
        store(q + c * 4, load_some(at + c * 4, D - c))
        store(o + c * 4, splat(np.float32(0)))
    peak, sum_ = np.float32(-np.inf), np.float32(0)
    seen = t + 1 + S - T if causal else S
    for k0 in range(0, seen, KEYS):
        keys = min(KEYS, seen - k0)
        _score_keys(places, key_mask, b, h, k0, keys, D, q, scale, s)
        before = peak
        for r in range(keys):
            peak = max(peak, peek(s + r * 4))
        base = max(peak, LOWEST)
        sums = splat(np.float32(0))
        for r in range(0, keys, LANES):
            p = exp(load(s + r * 4) - splat(base))
            store(s + r * 4, p)
            sums = sums + p
        factor = exp(splat(before) - splat(base))
        sum_ = sum_ * np.exp(before - base) + total(sums)
        for c in range(0, D, LANES):
            store(o + c * 4, load(o + c * 4) * factor)
        for r in range(keys):
            at, p = _place(places, V, b, h, k0 + r), splat(peek(s + r * 4))
            for c in range(0, D, LANES):
                store(o + c * 4, load(o + c * 4) + p * load_some(at + c * 4, D - c))
    _finish_row(_place(places, Y, b, h, t), o, D, peak, sum_, _place(places, LSE, b, h, t))
