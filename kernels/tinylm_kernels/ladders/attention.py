"""The ladder of attention: causal or not, as many heads of keys as of queries. What else there is the reference does.

Rungs fill y (B, H, T, E) and log_sum_exp (B, H, T) from q (B, H, T, D), k (B, H, S, D) and v (B, H, S, E), whose rows
are contiguous and which may otherwise have any strides.
"""

import math

import numpy as np
from numba import prange

from ..attention import attention
from ..attention.tiles import finish, padded, scale_rows, softmax_step, zero
from ..jit import LAUNCH, STRICT, jit
from ..pool import empty
from ..products import ADD, ALL, FLOAT, REPLACE, ROWS, aligned, pack, pack_transposed, product
from ..simd import exp, maximum
from ..vectors import LANES, LINE, hide_before, load, splat, store
from . import rungs_of

ZERO, MINUS_INFINITY = np.float32(0), np.float32(-np.inf)
TILE = 64  # queries, and keys
ROW = np.int64(4 * TILE)  # bytes


def _run(
    loops, q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, out=None
):
    forms = key_mask, bias, offsets, window, softcap
    if q.shape[1] != k.shape[1] or any(form is not None for form in forms):
        return attention.reference(
            q, k, v, key_mask, bias, offsets, causal=causal, window=window, softcap=softcap, scale=scale, out=out
        )
    q, k, v = (a if a.strides[-1] == 4 else np.ascontiguousarray(a) for a in (q, k, v))
    y, log_sum_exp = empty((*q.shape[:3], v.shape[3])), empty(q.shape[:3])
    with LAUNCH:
        loops(q, k, v, y, log_sum_exp, bool(causal), np.float32(q.shape[3] ** -0.5 if scale is None else scale))
    if out is not None:
        out[...] = y
        y = out
    return y, log_sum_exp


rung = rungs_of(attention, _run)


@jit(inline="always")
def seen_keys(t, T, S, causal):
    """How many keys, the first ones, query t may look at."""
    return S - T + t + 1 if causal else S


@rung
@jit(fastmath=STRICT)
def v0_loops(q, k, v, y, log_sum_exp, causal, scale):
    """A query at a time, in three loops: scores, their softmax, the weighted sum of the values. All of it is scalar."""
    B, H, T, D = q.shape
    S, E = v.shape[2:]
    p = np.empty(S)
    for row in range(B * H * T):
        b, h, t = row // T // H, row // T % H, row % T
        seen = seen_keys(t, T, S, causal)
        peak = -np.inf
        for s in range(seen):
            score = 0.0
            for d in range(D):
                score += q[b, h, t, d] * k[b, h, s, d]
            p[s] = score * scale
            if not p[s] <= peak:
                peak = p[s]
        total = 0.0
        for s in range(seen):
            p[s] = math.exp(p[s] - peak)
            total += p[s]
        for e in range(E):
            value = 0.0
            for s in range(seen):
                value += p[s] * v[b, h, s, e]
            y[b, h, t, e] = value / total if seen else 0
        log_sum_exp[b, h, t] = peak + math.log(total) if seen else -np.inf


@jit
def attend(q, k, v, y, p, scale):
    """y for one query (D,) over the keys (S, D) and values (S, E) that it sees; returns its log_sum_exp."""
    peak = MINUS_INFINITY
    for s in range(len(k)):
        key, score = k[s], ZERO
        for d in range(len(q)):
            score += q[d] * key[d]
        p[s] = score * scale
        peak = maximum(peak, p[s])
    total = ZERO
    for s in range(len(k)):
        e = exp(p[s] - peak)
        p[s] = e
        total += e
    y[:] = ZERO
    for s in range(len(k)):
        weight, value = p[s] / total, v[s]
        for e in range(len(y)):
            y[e] += weight * value[e]
    return peak + np.log(total) if len(k) else MINUS_INFINITY


@rung
@jit
def v1_vectorised(q, k, v, y, log_sum_exp, causal, scale):
    """The same loops, each along memory: dot products and sums of values become vector code, and so does exp.

    Two loads for each multiply-add, and a sum across lanes for each score, are now the bound: every query reads all
    keys and values again.
    """
    B, H, T, _ = q.shape
    S = k.shape[2]
    q, k, v = np.ascontiguousarray(q), np.ascontiguousarray(k), np.ascontiguousarray(v)
    p = np.empty(S, np.float32)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                seen = seen_keys(t, T, S, causal)
                log_sum_exp[b, h, t] = attend(q[b, h, t], k[b, h, :seen], v[b, h, :seen], y[b, h, t], p, scale)


@jit
def at(a, b, h, t):
    """The address of a row."""
    return np.int64(a.ctypes.data) + b * a.strides[0] + h * a.strides[1] + t * a.strides[2]


@jit
def hide_later_keys(s, keys, columns, ahead):
    """-inf where key r, which is `ahead` + r places after the first query, comes after query c."""
    for r in range(keys):
        for c in range(0, min(r + ahead, columns), LANES):
            place = s + r * ROW + c * 4
            store(place, hide_before(load(place), r + ahead - c))


@jit
def tile_floats(D, E):
    """The size of the scratch array of `tile`."""
    return LINE + TILE * (padded(D) + 2 * padded(E)) // 4 + TILE * (TILE + ROWS + 3)


@jit
def tile(scratch, q, k, v, y, log_sum_exp, causal, scale, b, h, t0):
    """64 queries from t0, over tiles of 64 keys. Scores lie keys by queries, so that a vector holds 16 queries."""
    T, S, D, E = q.shape[2], k.shape[2], q.shape[3], v.shape[3]
    queries = min(TILE, T - t0)
    columns = (queries + LANES - 1) // LANES * LANES
    d_row, e_row = padded(D), padded(E)
    qt = aligned(scratch)  # the queries, transposed
    sums, values = qt + TILE * d_row, qt + TILE * (d_row + e_row)
    s = values + TILE * e_row
    peaks = s + (TILE + ROWS) * ROW
    totals, factors = peaks + ROW, peaks + 2 * ROW
    zero(sums, TILE * e_row)
    zero(totals, ROW)
    for c in range(0, columns, LANES):
        store(peaks + c * 4, splat(MINUS_INFINITY))
    pack_transposed(at(q, b, h, t0), q.strides[2], queries, D, qt, ROW, scale)
    for k0 in range(0, seen_keys(t0 + queries - 1, T, S, causal), TILE):
        keys = min(TILE, S - k0)
        product(at(k, b, h, k0), k.strides[2], FLOAT, keys, qt, ROW, columns, D, s, ROW, REPLACE, ALL, ALL, ALL)
        if causal:
            hide_later_keys(s, keys, columns, k0 - (S - T + t0))
        for c in range(0, columns * 4, LINE):  # p = exp(s - peak), with the peak of all keys so far
            softmax_step(s + c, keys, peaks + c, totals + c, factors + c)
        scale_rows(sums, queries, e_row, factors)  # what was summed up under an older, lower peak
        pack(at(v, b, h, k0), v.strides[2], keys, E, values, e_row)
        product(s, FLOAT, ROW, queries, values, e_row, e_row // 4, keys, sums, e_row, ADD, ALL, ALL, ALL)
    to = np.int64(log_sum_exp.ctypes.data) + ((b * q.shape[1] + h) * T + t0) * 4
    finish(sums, e_row, queries, E, peaks, totals, factors, at(y, b, h, t0), y.strides[2], to)


@rung
@jit
def v2_fused(q, k, v, y, log_sum_exp, causal, scale):
    """Tiles of 64 x 64 scores that are made, turned into weights and multiplied by the values within the cache.

    The softmax runs along: where a later key has a higher score, the sums so far are scaled down. A key is read once
    for 64 queries, and a register tile keeps 4 x 32 sums, so that arithmetic is the bound.
    """
    scratch = np.empty(tile_floats(q.shape[3], v.shape[3]), np.float32)
    for b in range(len(q)):
        for h in range(q.shape[1]):
            for t0 in range(0, q.shape[2], TILE):
                tile(scratch, q, k, v, y, log_sum_exp, causal, scale, b, h, t0)


@rung
@jit(parallel=True)
def v3_parallel(q, k, v, y, log_sum_exp, causal, scale):
    """Tiles of queries do not depend on each other: they go to the threads, which scales with the cores."""
    B, H, T, _ = q.shape
    tiles = (T + TILE - 1) // TILE
    for task in prange(B * H * tiles):
        head, scratch = task // tiles, np.empty(tile_floats(q.shape[3], v.shape[3]), np.float32)
        tile(scratch, q, k, v, y, log_sum_exp, causal, scale, head // H, head % H, task % tiles * TILE)
