"""Attention of a single query, as in decoding: one pass over its keys and values, which bounds the time."""

import numpy as np

from ..jit import jit
from ..products import aligned
from ..vectors import LANES, LINE, exp, larger, largest, load, peek, poke, read, splat, store, total, write
from .tiles import KEYS, LOWEST, LSE, K, Q, V, Y, _place, padded


@jit
def _score_keys(q, k, k_row, key_mask, b, k0, keys, D, scale, s):
    """The scores of some keys, padded with -inf to whole vectors; returns the largest."""
    peak = splat(np.float32(-np.inf))
    for r0 in range(0, keys, LANES):
        store(s + r0 * 4, splat(np.float32(-np.inf)))
        for r in range(r0, min(r0 + LANES, keys)):
            if key_mask.size and not key_mask[b, k0 + r]:
                continue
            sums = splat(np.float32(0))
            for c in range(0, D, LANES):
                sums = sums + load(q + c * 4) * read(k + r * k_row + c * 4, D - c)
            poke(s + r * 4, total(sums) * scale)
        peak = larger(load(s + r0 * 4), peak)
    return largest(peak)


@jit
def _add_values(o, factor, s, v, v_row, keys, D):
    """o = factor o + s v, by two vectors of columns whose sums stay in registers."""
    for c in range(0, D, 2 * LANES):
        left, right = load(o + c * 4) * factor, load(o + c * 4 + LINE) * factor
        for r in range(keys):
            p, at = splat(peek(s + r * 4)), v + r * v_row + c * 4
            left = left + p * read(at, D - c)
            if D - c > LANES:
                right = right + p * read(at + LINE, D - c - LANES)
        store(o + c * 4, left)
        store(o + c * 4 + LINE, right)


@jit
def row_floats(D):
    """The size of the scratch array of `forward_row`."""
    return LINE + padded(D) // 4 * 2 + LANES + KEYS


@jit
def forward_row(scratch, places, key_mask, shape, causal, scale, b, h, t):
    """y and log_sum_exp of query t of one head; the softmax runs along over blocks of keys."""
    _, _, T, S, D = shape
    row = padded(D)
    q = aligned(scratch)
    o, s = q + row, q + 2 * row + LINE  # o in pairs of vectors
    at = _place(places[Q], b, h, t)
    for c in range(0, D, LANES):
        store(q + c * 4, read(at + c * 4, D - c))
    for c in range(0, D, 2 * LANES):
        store(o + c * 4, splat(np.float32(0)))
        store(o + c * 4 + LINE, splat(np.float32(0)))
    peak, sum_ = np.float32(-np.inf), np.float32(0)
    seen = t + 1 + S - T if causal else S
    for k0 in range(0, seen, KEYS):
        keys = min(KEYS, seen - k0)
        k, v = _place(places[K], b, h, k0), _place(places[V], b, h, k0)
        before = peak
        peak = max(peak, _score_keys(q, k, places[K, 3], key_mask, b, k0, keys, D, scale, s))
        base = splat(max(peak, LOWEST))  # -inf - -inf would be NaN
        sums = splat(np.float32(0))
        for r in range(0, keys, LANES):
            p = exp(load(s + r * 4) - base)
            store(s + r * 4, p)
            sums = sums + p
        factor = exp(splat(before) - base)
        sum_ = sum_ * largest(factor) + total(sums)
        _add_values(o, factor, s, v, places[V, 3], keys, D)
    y = _place(places[Y], b, h, t)
    inverse = splat(np.float32(0) if sum_ == 0 else np.float32(1) / sum_)  # 0 for a query that sees no key
    for c in range(0, D, LANES):
        write(y + c * 4, load(o + c * 4) * inverse, D - c)
    poke(_place(places[LSE], b, h, t), np.float32(-np.inf) if sum_ == 0 else peak + np.log(sum_))
