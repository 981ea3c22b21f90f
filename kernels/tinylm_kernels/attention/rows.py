"""Attention of a single query, as in decoding: one pass over its keys and values, which bounds the time."""

import numpy as np

from ..jit import jit
from ..products import aligned
from ..simd import tanh
from ..vectors import LANES, LINE, exp, larger, largest, load, peek, poke, read, splat, store, total, write
from .tiles import BIAS, KEYS, LOWEST, LSE, K, Q, V, Y, padded, place_of


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
def _cap_and_add(s, key_mask, b, k0, keys, softcap, bias):
    """The scores with a soft cap and a bias, 0 where there is none; returns the largest."""
    peak = np.float32(-np.inf)
    for r in range(keys):
        if key_mask.size and not key_mask[b, k0 + r]:
            continue
        score = peek(s + r * 4)
        if softcap:
            score = softcap * tanh(score / softcap)
        if bias:
            score += peek(bias + r * 4)
        poke(s + r * 4, score)
        peak = max(peak, score)
    return peak


@jit
def _add_values(o, factor, s, v, v_row, keys, E):
    """o = factor o + s v, by two vectors of columns whose sums stay in registers."""
    for c in range(0, E, 2 * LANES):
        left, right = load(o + c * 4) * factor, load(o + c * 4 + LINE) * factor
        for r in range(keys):
            p, at = splat(peek(s + r * 4)), v + r * v_row + c * 4
            left = left + p * read(at, E - c)
            if E - c > LANES:
                right = right + p * read(at + LINE, E - c - LANES)
        store(o + c * 4, left)
        store(o + c * 4 + LINE, right)


@jit
def row_floats(D, E):
    """The size of the scratch array of `forward_row`."""
    return LINE + padded(D) // 4 + padded(E) // 4 + LANES + KEYS


@jit
def forward_row(scratch, places, sight, shape, scoring, b, h, t):
    """y and log_sum_exp of query t of one head; the softmax runs along over blocks of keys."""
    _, H, G, _, S, D, E = shape
    key_mask, offsets, before, after = sight
    g, position = h // (H // G), offsets[b] + t
    q = aligned(scratch)
    o = q + padded(D)
    s = o + padded(E) + LINE  # o in pairs of vectors
    at = place_of(places[Q], b, h, t)
    for c in range(0, D, LANES):
        store(q + c * 4, read(at + c * 4, D - c))
    for c in range(0, E, 2 * LANES):
        store(o + c * 4, splat(np.float32(0)))
        store(o + c * 4 + LINE, splat(np.float32(0)))
    peak, sum_ = np.float32(-np.inf), np.float32(0)
    stop = min(S, position + after + 1)
    for k0 in range(max(np.int64(0), position - before), stop, KEYS):
        keys = min(KEYS, stop - k0)
        k, v = place_of(places[K], b, g, k0), place_of(places[V], b, g, k0)
        highest = _score_keys(q, k, places[K, 3], key_mask, b, k0, keys, D, scoring[0], s)
        if scoring[1] or places[BIAS, 0]:
            bias = place_of(places[BIAS], b, h, t) + k0 * 4 if places[BIAS, 0] else np.int64(0)
            highest = _cap_and_add(s, key_mask, b, k0, keys, scoring[1], bias)
        last_peak = peak
        peak = max(peak, highest)
        base = splat(max(peak, LOWEST))  # -inf - -inf would be NaN
        sums = splat(np.float32(0))
        for r in range(0, keys, LANES):
            p = exp(load(s + r * 4) - base)
            store(s + r * 4, p)
            sums = sums + p
        factor = exp(splat(last_peak) - base)
        sum_ = sum_ * largest(factor) + total(sums)
        _add_values(o, factor, s, v, places[V, 3], keys, E)
    y = place_of(places[Y], b, h, t)
    inverse = splat(np.float32(0) if sum_ == 0 else np.float32(1) / sum_)  # 0 for a query that sees no key
    for c in range(0, E, LANES):
        write(y + c * 4, load(o + c * 4) * inverse, E - c)
    poke(place_of(places[LSE], b, h, t), np.float32(-np.inf) if sum_ == 0 else peak + np.log(sum_))
