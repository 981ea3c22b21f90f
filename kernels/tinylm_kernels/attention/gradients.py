"""Attention backward by tiles: the scores of a tile are made anew, from what the forward kept of each query.

A head of keys is one task: the gradients of its keys and values grow over the tiles of queries, and over the heads of
queries that it serves. Tiles are held and tuples go around as in tiles.py.
Source: Dao et al. 2022, arXiv:2205.14135, algorithm 4.
"""

import numpy as np

from ..jit import jit
from ..products import ADD, ALL, CHAIN, FLOAT, REPLACE, ROWS, SPLIT, aligned, pack_transposed, product
from ..vectors import LANES, LINE, exp, load, peek, poke, smaller, splat, store, write, zero_before, zero_from
from .tiles import (
    BIAS,
    DK,
    DQ,
    DV,
    DY,
    KEYS,
    LSE,
    ONE,
    QUERIES,
    ROW,
    K,
    Q,
    V,
    Y,
    add_bias,
    all_masked,
    bounds,
    cap,
    hidden,
    padded,
    place_of,
    seen_keys,
    whole_vectors,
    zero,
)


@jit
def _gradient_step(s, dp, keys, columns, diagonal, lses, deltas):
    """Turn the scores s into the weights p = exp(s - lse) and dp into ds = p (dp - delta), where a query sees a key."""
    for c in range(0, columns, LANES):
        lse, delta = load(lses + c * 4), load(deltas + c * 4)
        for r in range(min(keys, c + LANES + diagonal)):
            at = r * ROW + c * 4
            p = exp(load(s + at) - lse)
            store(s + at, p)
            store(dp + at, p * (load(dp + at) - delta))


@jit
def _slopes(s, keys, columns, softcap, slopes):
    """The derivative of `cap` at the scores s: 1 - tanh^2 x = 4 e / (1 + e)^2, e = e^-2|x|, which does not cancel."""
    double = splat(np.float32(2) / softcap)
    for r in range(keys):
        for c in range(r * ROW, r * ROW + columns * 4, LINE):
            x = load(s + c) * double
            power = exp(smaller(x, splat(np.float32(0)) - x))
            sum_ = splat(ONE) + power
            store(slopes + c, splat(np.float32(4)) * power / (sum_ * sum_))


@jit
def _multiply(x, keys, columns, factors):
    for r in range(keys):
        for c in range(r * ROW, r * ROW + columns * 4, LINE):
            store(x + c, load(x + c) * load(factors + c))


@jit
def _hide_gradients(s, dp, key_mask, b, k0, keys, diagonal, limit, columns):
    """0 for the weights and gradients between queries and keys that do not see each other."""
    for r in range(keys):
        first, stop = hidden(key_mask, b, k0 + r, r, diagonal, columns)
        for c in range(first, stop, LANES):
            at = r * ROW + c * 4
            store(s + at, zero_before(load(s + at), stop - c))
            store(dp + at, zero_before(load(dp + at), stop - c))
        for c in range(max(np.int64(0), r + limit) & -LANES, columns, LANES):
            at = r * ROW + c * 4
            store(s + at, zero_from(load(s + at), r + limit - c))
            store(dp + at, zero_from(load(dp + at), r + limit - c))


@jit
def _finish_tile(s, dp, spare, places, sight, scoring, b, h, q0, k0, queries, keys, lses, deltas):
    """Turn the products s and dp of a tile into weights and gradients by s, both 0 where a query does not see a key.

    spare: the address of room for two tiles.
    """
    columns = (queries + LANES - 1) // LANES * LANES
    diagonal, limit = bounds(sight, b, q0, k0)
    slopes = spare + ROW * KEYS
    if scoring[1]:
        _slopes(s, keys, columns, scoring[1], slopes)
        cap(s, keys, columns, scoring[1])
    if places[BIAS, 0]:
        add_bias(s, places, b, h, q0, k0, queries, keys, columns, spare)
    _gradient_step(s, dp, keys, columns, diagonal, lses, deltas)
    if scoring[1]:
        _multiply(dp, keys, columns, slopes)
    if sight[0].size or diagonal < keys or limit < columns:
        _hide_gradients(s, dp, sight[0], b, k0, keys, diagonal, limit, columns)


@jit
def _sums_for_backward(places, b, h, q0, queries, columns, E, dyt, yt, lses, deltas):
    """Per query its log_sum_exp, made such that hidden and missing queries get weights 0, and sum(dy y).

    That sum is made in the very order of `product`, which makes dp: where one key has nearly all the weight, y is its
    value, and dp - sum(dy y) must vanish.
    """
    for r in range(columns):
        lse = np.float32(-np.inf)
        if r < queries:
            lse = peek(place_of(places[LSE], b, h, q0 + r))
        poke(lses + r * 4, np.float32(np.inf) if lse == -np.inf else lse)
    for c in range(0, columns * 4, LINE):
        delta = splat(np.float32(0))
        for first in range(0, E, CHAIN):
            chain = splat(np.float32(0))
            for part in range(SPLIT):
                sums = splat(np.float32(0))
                for k in range(first + part, min(E, first + CHAIN), SPLIT):
                    sums = sums + load(dyt + k * ROW + c) * load(yt + k * ROW + c)
                chain = chain + sums
            delta = delta + chain
        store(deltas + c, delta)


@jit
def _write_rows(x, row, rows, D, scale, place, b, h, t):
    for r in range(rows):
        target = place_of(place, b, h, t + r)
        for c in range(0, D, LANES):
            write(target + c * 4, load(x + r * row + c * 4) * splat(scale), D - c)


@jit
def backward_floats(S, D, E):
    """The size of the scratch array of `backward_head`."""
    keys = padded(D) // 4 * (2 * S + ROWS) + padded(E) // 4 * (S + ROWS)
    queries = (padded(D) // 4 + padded(E) // 4) * 2 * QUERIES + padded(max(D, E)) // 4 * QUERIES
    return LINE + keys + queries + QUERIES * (4 * KEYS + 2 * ROWS + 2)


@jit
def backward_head(scratch, places, sight, shape, scoring, b, g):
    """dk and dv of one head of keys, in padded buffers, and dq of all the heads of queries that it serves."""
    _, H, G, T, S, D, E = shape
    row, v_row, start = padded(D), padded(E), np.int64(0)
    packed_k = aligned(scratch)
    dk = packed_k + row * S
    dv = dk + row * (S + ROWS)  # the last register tile may reach ROWS - 1 rows too far
    rest = dv + v_row * (S + ROWS)
    zero(dk, rest - dk)
    k_at, k_row = whole_vectors(place_of(places[K], b, g, start), places[K, 3], S, D, packed_k)
    for h in range(g * (H // G), (g + 1) * (H // G)):
        for q0 in range(0, T, QUERIES):
            _backward_tile(rest, places, sight, shape, scoring, b, h, q0, k_at, k_row, dk, dv)
    _write_rows(dk, row, S, D, scoring[0], places[DK], b, g, start)
    _write_rows(dv, v_row, S, E, ONE, places[DV], b, g, start)


@jit
def _backward_tile(scratch, places, sight, shape, scoring, b, h, q0, all_k, all_k_row, dk, dv):
    """dq of the 64 queries from q0 of one head, and what they add to dk and dv."""
    _, H, G, T, S, D, E = shape
    g, queries = h // (H // G), min(QUERIES, T - q0)
    columns = (queries + LANES - 1) // LANES * LANES
    row, e_row = padded(D), padded(E)
    qt = scratch
    dyt = qt + row * QUERIES
    packed_q = dyt + e_row * QUERIES
    packed_dy = packed_q + row * QUERIES
    dq = packed_dy + e_row * QUERIES  # before that y, transposed
    s = dq + max(row, e_row) * QUERIES
    dp = s + ROW * (KEYS + ROWS)
    spare = dp + ROW * (KEYS + ROWS)
    lses = spare + 2 * ROW * KEYS
    deltas = lses + ROW
    q_at, q_row = place_of(places[Q], b, h, q0), places[Q, 3]
    dy_at, dy_row = place_of(places[DY], b, h, q0), places[DY, 3]
    pack_transposed(q_at, q_row, queries, D, qt, ROW, scoring[0])
    pack_transposed(dy_at, dy_row, queries, E, dyt, ROW, ONE)
    pack_transposed(place_of(places[Y], b, h, q0), places[Y, 3], queries, E, dq, ROW, ONE)
    _sums_for_backward(places, b, h, q0, queries, columns, E, dyt, dq, lses, deltas)
    zero(dq, row * queries)
    q_at, q_row = whole_vectors(q_at, q_row, queries, D, packed_q)
    dy_at, dy_row = whole_vectors(dy_at, dy_row, queries, E, packed_dy)
    first, stop = seen_keys(sight, b, q0, queries, S)
    # In whole register tiles: what those add to the next keys' dk and dv must be zeros.
    stop = min(S, (stop + ROWS - 1) // ROWS * ROWS)
    for k0 in range(first, stop, KEYS):
        keys = min(KEYS, stop - k0)
        if all_masked(sight[0], b, k0, keys):
            continue
        diagonal, _ = bounds(sight, b, q0, k0)
        k_at, k_row = place_of(places[K], b, g, k0), places[K, 3]
        v_at, v_row = place_of(places[V], b, g, k0), places[V, 3]
        product(k_at, k_row, FLOAT, keys, qt, ROW, columns, D, s, ROW, REPLACE, ALL, ALL, diagonal)
        product(v_at, v_row, FLOAT, keys, dyt, ROW, columns, E, dp, ROW, REPLACE, ALL, ALL, diagonal)
        _finish_tile(s, dp, spare, places, sight, scoring, b, h, q0, k0, queries, keys, lses, deltas)
        at = dv + k0 * e_row
        product(s, ROW, FLOAT, keys, dy_at, dy_row, e_row // 4, queries, at, e_row, ADD, diagonal, ALL, ALL)
        at = dk + k0 * row
        product(dp, ROW, FLOAT, keys, q_at, q_row, row // 4, queries, at, row, ADD, diagonal, ALL, ALL)
        at = all_k + k0 * all_k_row
        product(dp, FLOAT, ROW, queries, at, all_k_row, row // 4, keys, dq, row, ADD, ALL, diagonal, ALL)
    _write_rows(dq, row, queries, D, scoring[0], places[DQ], b, h, q0)
