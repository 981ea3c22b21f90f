"""Attention by tiles of 64 queries and 64 keys: scores are made, used and overwritten in the cache.

They are held transposed, keys by queries. Then the softmax runs down the columns of a tile, 16 queries to a
vector and no sums across lanes; the keys (and in the backward the values) are read where they lie, as the
left operand of the products; and only the queries, once per tile, are transposed.
Source: Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4; Milakov and Gimelshein 2018, arXiv:1805.02867.
"""

import numpy as np

from ..jit import jit
from ..products import ADD, ALL, CHAIN, FLOAT, REPLACE, ROWS, SPLIT, aligned, pack, pack_transposed, product
from ..vectors import (
    LANES,
    LINE,
    exp,
    hide_before,
    larger,
    load,
    log,
    peek,
    poke,
    splat,
    store,
    write,
    zero_before,
)

# A tile of scores is 16 KB, half of a first-level cache; the panel of 64 rows of V that it meets takes 8.
QUERIES, KEYS = 64, 64
ROW = np.int64(4 * QUERIES)  # bytes from key to key in a tile of scores
LOWEST = np.float32(-3.4028235e38)  # the least finite float
TINY = np.float32(1.17549435e-38)  # the least normal float; its inverse is finite
# The rows of the table of places (address and three strides of each array).
Q, K, V, Y, LSE, DY, DQ, DK, DV = range(9)


@jit
def _place(place, b, h, t):
    """The address of the row at token t, for an array's row in the table of places."""
    return place[0] + b * place[1] + h * place[2] + t * place[3]


@jit
def _hidden(key_mask, b, key, shift, columns):
    """(first, stop): a key is not seen by the first `stop` queries of a tile, all of them if it is masked.

    That must be written to its scores from the block of 16 queries at `first` on; products read no earlier ones.
    """
    if key_mask.size and not key_mask[b, key]:
        return np.int64(0), columns
    hidden = min(key - shift, columns)
    return max(np.int64(0), (hidden - ROWS) & -LANES), hidden


@jit
def _hide(s, key_mask, b, k0, keys, shift, columns):
    """-inf for the scores between queries and keys that do not see each other."""
    for r in range(keys):
        first, hidden = _hidden(key_mask, b, k0 + r, shift, columns)
        for c in range(first, hidden, LANES):
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
def _finish(o, row, queries, D, peaks, totals, factors, y, y_row, log_sum_exp):
    """Divide by the sums of the weights, and write; zeros for a query that sees no key."""
    for c in range(0, queries, LANES):
        sums = load(totals + c * 4)
        store(factors + c * 4, splat(np.float32(1)) / larger(splat(TINY), sums))
        write(log_sum_exp + c * 4, load(peaks + c * 4) + log(sums), queries - c)
    for r in range(queries):
        factor = splat(peek(factors + r * 4))
        for c in range(0, D, LANES):
            write(y + r * y_row + c * 4, load(o + r * row + c * 4) * factor, D - c)


@jit
def padded(D):
    """The bytes of a row of D floats in whole cache lines."""
    return (D + LANES - 1) // LANES * LINE


@jit
def _whole_vectors(at, at_row, rows, D, buffer):
    """(address, bytes from row to row) of rows that can be read in whole vectors: as they lie, or copied and padded.

    They are copied too where they lie a multiple of 1 KB apart, on few of the sets of a first-level cache.
    """
    if D % LANES == 0 and at_row % 1024 != 0:
        return at, at_row
    pack(at, at_row, rows, D, buffer, padded(D))
    return buffer, padded(D)


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
        v_at, v_row = _whole_vectors(_place(places[V], b, h, k0), places[V, 3], keys, D, packed_v)
        product(s, FLOAT, ROW, queries, v_at, v_row, row // 4, keys, o, row, k0 > 0, ALL, diagonal, ALL)
    y, log_sum_exp = _place(places[Y], b, h, q0), _place(places[LSE], b, h, q0)
    _finish(o, row, queries, D, peaks, totals, factors, y, places[Y, 3], log_sum_exp)


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
def _hide_gradients(s, dp, key_mask, b, k0, keys, shift, columns):
    """0 for the weights and gradients between queries and keys that do not see each other."""
    for r in range(keys):
        first, hidden = _hidden(key_mask, b, k0 + r, shift, columns)
        for c in range(first, hidden, LANES):
            at = r * ROW + c * 4
            store(s + at, zero_before(load(s + at), hidden - c))
            store(dp + at, zero_before(load(dp + at), hidden - c))


@jit
def _sums_for_backward(places, b, h, q0, queries, columns, D, dyt, yt, lses, deltas):
    """Per query its log_sum_exp, made such that hidden and missing queries get weights 0, and sum(dy y).

    That sum is made in the very order of `product`, which makes dp: where one key has nearly all the weight, y is its
    value, and dp - sum(dy y) must vanish.
    """
    for r in range(columns):
        lse = np.float32(-np.inf)
        if r < queries:
            lse = peek(_place(places[LSE], b, h, q0 + r))
        poke(lses + r * 4, np.float32(np.inf) if lse == -np.inf else lse)
    for c in range(0, columns * 4, LINE):
        delta = splat(np.float32(0))
        for first in range(0, D, CHAIN):
            chain = splat(np.float32(0))
            for part in range(SPLIT):
                sums = splat(np.float32(0))
                for k in range(first + part, min(D, first + CHAIN), SPLIT):
                    sums = sums + load(dyt + k * ROW + c) * load(yt + k * ROW + c)
                chain = chain + sums
            delta = delta + chain
        store(deltas + c, delta)


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
    packed_q, packed_dy, dq = dyt + row * QUERIES, dyt + 2 * row * QUERIES, dyt + 3 * row * QUERIES
    s = dq + row * QUERIES
    dp = s + ROW * (KEYS + ROWS)
    lses = dp + ROW * (KEYS + ROWS)
    deltas = lses + ROW
    all_k, all_k_row = _whole_vectors(_place(places[K], b, h, start), places[K, 3], S, D, packed_k)
    for q0 in range(0, T, QUERIES):
        queries = min(QUERIES, T - q0)
        columns = (queries + LANES - 1) // LANES * LANES
        q_at, q_row = _place(places[Q], b, h, q0), places[Q, 3]
        dy_at, dy_row = _place(places[DY], b, h, q0), places[DY, 3]
        pack_transposed(q_at, q_row, queries, D, qt, ROW, scale)
        pack_transposed(dy_at, dy_row, queries, D, dyt, ROW, np.float32(1))
        pack_transposed(_place(places[Y], b, h, q0), places[Y, 3], queries, D, dq, ROW, np.float32(1))
        _sums_for_backward(places, b, h, q0, queries, columns, D, dyt, dq, lses, deltas)
        q_at, q_row = _whole_vectors(q_at, q_row, queries, D, packed_q)
        dy_at, dy_row = _whole_vectors(dy_at, dy_row, queries, D, packed_dy)
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
            _gradient_step(s, dp, keys, columns, diagonal, lses, deltas)
            if key_mask.size or diagonal < keys:
                _hide_gradients(s, dp, key_mask, b, k0, keys, k0 + diagonal, columns)
            product(s, ROW, FLOAT, keys, dy_at, dy_row, row // 4, queries, dv + at, row, ADD, diagonal, ALL, ALL)
            product(dp, ROW, FLOAT, keys, q_at, q_row, row // 4, queries, dk + at, row, ADD, diagonal, ALL, ALL)
            at = all_k + k0 * all_k_row
            product(dp, FLOAT, ROW, queries, at, all_k_row, row // 4, keys, dq, row, k0 > 0, ALL, diagonal, ALL)
        _write_rows(dq, row, queries, D, scale, places[DQ], b, h, q0)
    _write_rows(dk, row, S, D, scale, places[DK], b, h, start)
    _write_rows(dv, row, S, D, np.float32(1), places[DV], b, h, start)
