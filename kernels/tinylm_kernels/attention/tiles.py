"""Attention forward by tiles of 64 queries and 64 keys: scores are made, used and overwritten in the cache.

They are held transposed, keys by queries. Then the softmax runs down the columns of a tile, 16 queries to a
vector and no sums across lanes; the keys (and in the backward the values) are read where they lie, as the
left operand of the products; and only the queries, once per tile, are transposed. The backward is in gradients.py.
Source: Dao et al. 2022, arXiv:2205.14135, algorithm 1; Milakov and Gimelshein 2018, arXiv:1805.02867.

Four tuples go around: shape (B, H, G, T, S, D, E); sight (key_mask, offsets, left, right), what a query may see;
scoring (scale, softcap), a softcap of 0 for none; places, the addresses and strides of the arrays.
"""

import numpy as np

from ..jit import jit
from ..products import ADD, ALL, FLOAT, REPLACE, ROWS, aligned, pack, pack_transposed, product
from ..vectors import (
    LANES,
    LINE,
    exp,
    hide_before,
    hide_from,
    larger,
    load,
    log,
    peek,
    splat,
    store,
    tanh,
    write,
)

# A tile of scores is 16 KB, half of a first-level cache; the panel of 64 rows of V that it meets takes 8.
QUERIES, KEYS = 64, 64
ROW = np.int64(4 * QUERIES)  # bytes from key to key in a tile of scores
LOWEST = np.float32(-3.4028235e38)  # the least finite float
TINY = np.float32(1.17549435e-38)  # the least normal float; its inverse is finite
ONE = np.float32(1)
# The rows of the table of places (address and three strides of each array; the address 0 for no bias).
Q, K, V, Y, LSE, BIAS, DY, DQ, DK, DV = range(10)


@jit
def place_of(place, b, h, t):
    """The address of the row at token t, for an array's row in the table of places."""
    return place[0] + b * place[1] + h * place[2] + t * place[3]


@jit
def seen_keys(sight, b, q0, queries, S):
    """(first, stop) of the keys that some of these queries may see, first in whole tiles."""
    _, offsets, left, right = sight
    position = offsets[b] + q0
    return max(np.int64(0), position - left) // KEYS * KEYS, min(S, position + queries + right)


@jit
def all_masked(key_mask, b, k0, keys):
    """Whether none of these keys counts: such tiles, as of the padding of a short row, are left out."""
    return key_mask.size > 0 and not key_mask[b, k0 : k0 + keys].any()


@jit
def bounds(sight, b, q0, k0):
    """(diagonal, limit): key r of a tile lies within reach of its queries from r - diagonal to r + limit - 1."""
    _, offsets, left, right = sight
    ahead = k0 - offsets[b] - q0
    return right - ahead, ahead + left + 1


@jit
def hidden(key_mask, b, key, r, diagonal, columns):
    """(first, stop): key r of a tile is not seen by the first `stop` queries, all of them if it is masked.

    That must be written to its scores from the block of 16 queries at `first` on; products read no earlier ones.
    """
    if key_mask.size and not key_mask[b, key]:
        return np.int64(0), columns
    stop = min(r - diagonal, columns)
    return max(np.int64(0), (stop - ROWS) & -LANES), stop


@jit
def _hide(s, key_mask, b, k0, keys, diagonal, limit, columns):
    """-inf for the scores between queries and keys that do not see each other."""
    for r in range(keys):
        at = s + r * ROW
        first, stop = hidden(key_mask, b, k0 + r, r, diagonal, columns)
        for c in range(first, stop, LANES):
            store(at + c * 4, hide_before(load(at + c * 4), stop - c))
        for c in range(max(np.int64(0), r + limit) & -LANES, columns, LANES):
            store(at + c * 4, hide_from(load(at + c * 4), r + limit - c))


@jit
def cap(s, keys, columns, softcap):
    """s becomes softcap tanh(s / softcap)."""
    inverse = splat(ONE / softcap)
    for r in range(keys):
        for c in range(0, columns * 4, LINE):
            at = s + r * ROW + c
            store(at, splat(softcap) * tanh(load(at) * inverse))


@jit
def add_bias(s, places, b, h, q0, k0, queries, keys, columns, buffer):
    """Add the bias of a tile, which is transposed in a buffer of the size of s."""
    source = place_of(places[BIAS], b, h, q0) + k0 * 4
    pack_transposed(source, places[BIAS, 3], queries, keys, buffer, ROW, ONE)
    for r in range(keys):
        for c in range(r * ROW, r * ROW + columns * 4, LINE):
            store(s + c, load(s + c) + load(buffer + c))


@jit
def softmax_step(s, keys, peaks, totals, factors):
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
def scale_rows(x, rows, row, factors):
    for r in range(rows):
        factor = splat(peek(factors + r * 4))
        for c in range(0, row, LINE):
            store(x + r * row + c, load(x + r * row + c) * factor)


@jit
def finish(o, row, queries, D, peaks, totals, factors, y, y_row, log_sum_exp):
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
def whole_vectors(at, at_row, rows, D, buffer):
    """(address, bytes from row to row) of rows that can be read in whole vectors: as they lie, or copied and padded.

    They are copied too where they lie a multiple of 1 KB apart, on few of the sets of a first-level cache.
    """
    if D % LANES == 0 and at_row % 1024 != 0:
        return at, at_row
    pack(at, at_row, rows, D, buffer, padded(D))
    return buffer, padded(D)


@jit
def zero(at, size):
    """Zeros to whole cache lines."""
    for line in range(at, at + size, LINE):
        store(line, splat(np.float32(0)))


@jit
def forward_floats(D, E):
    """The size of the scratch array of `forward_tile`."""
    rows = padded(D) // 4 * QUERIES + padded(E) // 4 * (QUERIES + KEYS)
    return LINE + rows + QUERIES * (2 * KEYS + ROWS + 3)


@jit
def forward_tile(scratch, places, sight, shape, scoring, b, h, q0):
    """y and log_sum_exp for the 64 queries from q0 of one head."""
    _, H, G, T, S, D, E = shape
    g, queries = h // (H // G), min(QUERIES, T - q0)
    columns = (queries + LANES - 1) // LANES * LANES
    row = padded(E)
    qt = aligned(scratch)
    o = qt + padded(D) * QUERIES
    packed_v = o + row * QUERIES
    s = packed_v + row * KEYS
    bias = s + ROW * (KEYS + ROWS)
    peaks = bias + ROW * KEYS
    totals, factors = peaks + ROW, peaks + 2 * ROW
    for c in range(0, columns, LANES):
        store(peaks + c * 4, splat(np.float32(-np.inf)))
        store(totals + c * 4, splat(np.float32(0)))
    zero(o, row * queries)
    pack_transposed(place_of(places[Q], b, h, q0), places[Q, 3], queries, D, qt, ROW, scoring[0])
    first, stop = seen_keys(sight, b, q0, queries, S)
    for k0 in range(first, stop, KEYS):
        keys = min(KEYS, stop - k0)
        if all_masked(sight[0], b, k0, keys):
            continue
        diagonal, limit = bounds(sight, b, q0, k0)
        k_at, k_row = place_of(places[K], b, g, k0), places[K, 3]
        product(k_at, k_row, FLOAT, keys, qt, ROW, columns, D, s, ROW, REPLACE, ALL, ALL, diagonal)
        if scoring[1]:
            cap(s, keys, columns, scoring[1])
        if places[BIAS, 0]:
            add_bias(s, places, b, h, q0, k0, queries, keys, columns, bias)
        if sight[0].size or diagonal < keys or limit < columns:
            _hide(s, sight[0], b, k0, keys, diagonal, limit, columns)
        for c in range(0, columns, LANES):
            visible = min(keys, c + LANES + diagonal)
            softmax_step(s + c * 4, visible, peaks + c * 4, totals + c * 4, factors + c * 4)
        if k0 > first:
            scale_rows(o, queries, row, factors)
        v_at, v_row = whole_vectors(place_of(places[V], b, g, k0), places[V, 3], keys, E, packed_v)
        product(s, FLOAT, ROW, queries, v_at, v_row, row // 4, keys, o, row, ADD, ALL, diagonal, ALL)
    y, log_sum_exp = place_of(places[Y], b, h, q0), place_of(places[LSE], b, h, q0)
    finish(o, row, queries, E, peaks, totals, factors, y, places[Y, 3], log_sum_exp)
