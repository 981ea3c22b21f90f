"""Attention by tiles of 64 queries and 64 keys: scores are made, used and overwritten in the cache.

They are held transposed, keys by queries. Then the softmax runs down the columns of a tile, 16 queries to a
vector and no sums across lanes; the keys (and in the backward the values) are read where they lie, as the
left operand of the products; and only the queries, once per tile, are transposed.
Source: Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4; Milakov and Gimelshein 2018, arXiv:1805.02867.
"""

import numpy as np

from ..jit import jit
from ..products import ADD, ALL, FLOAT, REPLACE, ROWS, aligned, pack, pack_transposed, product
from ..vectors import (
    LANES,
    LINE,
    exp,
    hide_before,
    larger,
    load,
    load_some,
    peek,
    poke,
    splat,
    store,
    total,
    write,
    zero_before,
)

# A tile of scores is 16 KB, half of a first-level cache; the panel of 64 rows of V that it meets takes 8.
QUERIES, KEYS = 64, 64
ROW = np.int64(4 * QUERIES)  # bytes from key to key in a tile of scores
LOWEST = np.float32(-3.4028235e38)  # the least finite float
# The rows of the table of places (address and three strides of each array).
Q, K, V, Y, LSE, DY, DQ, DK, DV = range(9)


@jit
def _place(place, b, h, t):
    """The address of the row at token t, for an array's row in the table of places."""
    return place[0] + b * place[1] + h * place[2] + t * place[3]


@jit
def _hidden(key_mask, b, key, shift, columns):
    """How many of a tile's first queries do not see a key: those before key - shift, all if it is masked."""
    if key_mask.size and not key_mask[b, key]:
        return columns
    return key - shift


@jit
def _hide(s, key_mask, b, k0, keys, shift, columns):
    """-inf for the scores between queries and keys that do not see each other."""
    for r in range(keys):
        hidden = _hidden(key_mask, b, k0 + r, shift, columns)
        for c in range(0, min(hidden, columns), LANES):
            at = s + r * ROW + c * 4
            store(at, hide_before(load(at), hidden - c))


@jit
def _softmax_step(s, keys, peaks, totals, factors):
    """Take in the scores of more keys for 16 queries: s becomes exp(s - peak), peak over all keys so far.

    factors receives what the results of the earlier keys must be multiplied by.
    """
    before = load(peaks)
    peak = before
    for r in range(keys):
        peak = larger(load(s + r * ROW), peak)  # a NaN is passed over here, and found by the sum
    base = larger(peak, splat(LOWEST))  # -inf - -inf would be NaN
    factor = exp(before - base)
    sums = load(totals) * factor
    for r in range(keys):
        p = exp(load(s + r * ROW) - base)
        store(s + r * ROW, p)
        sums = sums + p
    store(peaks, peak)
    store(totals, sums)
    store(factors, factor)


@jit
def _scale_rows(x, rows, row, factors):
    for r in range(rows):
        factor = splat(peek(factors + r * 4))
        for c in range(0, row, LINE):
            store(x + r * row + c, load(x + r * row + c) * factor)


@jit
def _finish_row(y, o, D, peak, sum_, log_sum_exp):
    """Divide by the sum of the weights, 0 for a query that sees no key."""
    inverse = splat(np.float32(0) if sum_ == 0 else np.float32(1) / sum_)
    for c in range(0, D, LANES):
        write(y + c * 4, load(o + c * 4) * inverse, D - c)
    poke(log_sum_exp, np.float32(-np.inf) if sum_ == 0 else peak + np.log(sum_))


@jit
def padded(D):
    """The bytes of a row of D floats in whole cache lines."""
    return (D + LANES - 1) // LANES * LINE


@jit
def forward_floats(D):
    """The size of the scratch array of `forward_tile`."""
    return LINE + padded(D) // 4 * (2 * QUERIES + KEYS) + QUERIES * (KEYS + ROWS + 3)


@jit
def forward_tile(scratch, places, key_mask, shape, causal, scale, b, h, q0):
    """y and log_sum_exp for the 64 queries from q0 of one head."""
    _, _, T, S, D = shape
    queries = min(QUERIES, T - q0)
    columns = (queries + LANES - 1) // LANES * LANES
    row = padded(D)
    qt = aligned(scratch)
    o = qt + row * QUERIES
    packed_v = o + row * QUERIES
    s = packed_v + row * KEYS
    peaks = s + ROW * (KEYS + ROWS)
    totals, factors = peaks + ROW, peaks + 2 * ROW
    for c in range(0, columns, LANES):
        store(peaks + c * 4, splat(np.float32(-np.inf)))
        store(totals + c * 4, splat(np.float32(0)))
    pack_transposed(_place(places[Q], b, h, q0), places[Q, 3], queries, D, qt, ROW, scale)
    seen = min(S, q0 + queries + S - T) if causal else S
    for k0 in range(0, seen, KEYS):
        keys = min(KEYS, seen - k0)
        # In tile coordinates key r is seen by the queries from r - diagonal on.
        diagonal = q0 + S - T - k0 if causal else ALL
        k_at, k_row = _place(places[K], b, h, k0), places[K, 3]
        product(k_at, k_row, FLOAT, keys, qt, ROW, columns, D, s, ROW, REPLACE, ALL, ALL, diagonal)
        if key_mask.size or diagonal < keys:
            _hide(s, key_mask, b, k0, keys, k0 + diagonal, columns)
        for c in range(0, columns, LANES):
            visible = min(keys, c + LANES + diagonal)
            _softmax_step(s + c * 4, visible, peaks + c * 4, totals + c * 4, factors + c * 4)
        if k0:
            _scale_rows(o, queries, row, factors)
        pack(_place(places[V], b, h, k0), places[V, 3], keys, D, packed_v, row)
        add = k0 > 0
        product(s, FLOAT, ROW, queries, packed_v, row, row // 4, keys, o, row, add, ALL, diagonal, ALL)
    for r in range(queries):
        y, log_sum_exp = _place(places[Y], b, h, q0 + r), _place(places[LSE], b, h, q0 + r)
        _finish_row(y, o + r * row, D, peek(peaks + r * 4), peek(totals + r * 4), log_sum_exp)


@jit
def _gradient_step(s, dp, keys, columns, lses, deltas):
    """Turn the scores s into the weights p = exp(s - lse) and dp into ds = p (dp - delta)."""
    for c in range(0, columns * 4, LINE):
        lse, delta = load(lses + c), load(deltas + c)
        for at in range(c, c + keys * ROW, ROW):
            p = exp(load(s + at) - lse)
            store(s + at, p)
            store(dp + at, p * (load(dp + at) - delta))


@jit
def _hide_gradients(s, dp, key_mask, b, k0, keys, shift, columns):
    """0 for the weights and gradients between queries and keys that do not see each other."""
    for r in range(keys):
        hidden = _hidden(key_mask, b, k0 + r, shift, columns)
        for c in range(0, min(hidden, columns), LANES):
            at = r * ROW + c * 4
            store(s + at, zero_before(load(s + at), hidden - c))
            store(dp + at, zero_before(load(dp + at), hidden - c))


@jit
def _rows_for_backward(places, b, h, q0, queries, columns, D, row, dy, lses, deltas):
    """Per query its log_sum_exp, made such that hidden and missing queries get weights 0, and sum(dy y)."""
    for r in range(columns):
        lse, delta = np.float32(np.inf), np.float32(0)
        if r < queries:
            lse = peek(_place(places[LSE], b, h, q0 + r))
            lse = np.float32(np.inf) if lse == -np.inf else lse
            y = _place(places[Y], b, h, q0 + r)
            sums = splat(np.float32(0))
            for c in range(0, D, LANES):
                sums = sums + load(dy + r * row + c * 4) * load_some(y + c * 4, D - c)
            delta = total(sums)
        poke(lses + r * 4, lse)
        poke(deltas + r * 4, delta)


@jit
def _write_rows(x, row, rows, D, scale, place, b, h, t):
    for r in range(rows):
        target = _place(place, b, h, t + r)
        for c in range(0, D, LANES):
            write(target + c * 4, load(x + r * row + c * 4) * splat(scale), D - c)


@jit
def backward_floats(S, D):
    """The size of the scratch array of `backward_head`."""
    rows = 3 * (S + ROWS) + 5 * QUERIES
    return LINE + padded(D) // 4 * rows + QUERIES * (2 * (KEYS + ROWS) + 2)


@jit
def backward_head(scratch, places, key_mask, shape, causal, scale, b, h):
    """dq, dk and dv of one head; dk and dv grow in padded buffers over the tiles of queries."""
    _, _, T, S, D = shape
    row = padded(D)
    packed_k, start = aligned(scratch), np.int64(0)
    dk = packed_k + row * S
    dv = dk + row * (S + ROWS)  # the last register tile may reach ROWS - 1 rows too far
    qt = dv + row * (S + ROWS)
    for at in range(dk, qt, LINE):
        store(at, splat(np.float32(0)))
    dyt = qt + row * QUERIES
    q, dy, dq = dyt + row * QUERIES, dyt + 2 * row * QUERIES, dyt + 3 * row * QUERIES
    s = dq + row * QUERIES
    dp = s + ROW * (KEYS + ROWS)
    lses = dp + ROW * (KEYS + ROWS)
    deltas = lses + ROW
    pack(_place(places[K], b, h, start), places[K, 3], S, D, packed_k, row)
    for q0 in range(0, T, QUERIES):
        queries = min(QUERIES, T - q0)
        columns = (queries + LANES - 1) // LANES * LANES
        q_at, q_row = _place(places[Q], b, h, q0), places[Q, 3]
        dy_at, dy_row = _place(places[DY], b, h, q0), places[DY, 3]
        pack_transposed(q_at, q_row, queries, D, qt, ROW, scale)
        pack_transposed(dy_at, dy_row, queries, D, dyt, ROW, np.float32(1))
        pack(q_at, q_row, queries, D, q, row)
        pack(dy_at, dy_row, queries, D, dy, row)
        _rows_for_backward(places, b, h, q0, queries, columns, D, row, dy, lses, deltas)
        # In whole register tiles: what those add to the next keys' dk and dv must be zeros.
        seen = min(S, (q0 + queries + S - T + ROWS - 1) // ROWS * ROWS) if causal else S
        for k0 in range(0, seen, KEYS):
            keys = min(KEYS, seen - k0)
            diagonal = q0 + S - T - k0 if causal else ALL
            k_at, k_row = _place(places[K], b, h, k0), places[K, 3]
            v_at, v_row = _place(places[V], b, h, k0), places[V, 3]
            at = k0 * row
            product(k_at, k_row, FLOAT, keys, qt, ROW, columns, D, s, ROW, REPLACE, ALL, ALL, diagonal)
            product(v_at, v_row, FLOAT, keys, dyt, ROW, columns, D, dp, ROW, REPLACE, ALL, ALL, diagonal)
            _gradient_step(s, dp, keys, columns, lses, deltas)
            if key_mask.size or diagonal < keys:
                _hide_gradients(s, dp, key_mask, b, k0, keys, k0 + diagonal, columns)
            product(s, ROW, FLOAT, keys, dy, row, row // 4, queries, dv + at, row, ADD, diagonal, ALL, ALL)
            product(dp, ROW, FLOAT, keys, q, row, row // 4, queries, dk + at, row, ADD, diagonal, ALL, ALL)
            at, add = packed_k + k0 * row, k0 > 0
            product(dp, FLOAT, ROW, queries, at, row, row // 4, keys, dq, row, add, ALL, diagonal, ALL)
        _write_rows(dq, row, queries, D, scale, places[DQ], b, h, q0)
    _write_rows(dk, row, S, D, scale, places[DK], b, h, start)
    _write_rows(dv, row, S, D, np.float32(1), places[DV], b, h, start)
