"""The attention of one token of each sequence: its keys and values join the cache, its queries see those before, or
those of another text.

A cache holds, for each layer, the keys of token after token, (tokens, G, D), and the values, (tokens, G, E). The
softmax runs along over blocks of keys, which all heads of a group take in turn while they are near.
"""

import numpy as np

from ..jit import jit
from ..vectors import (
    LANES,
    LINE,
    exp,
    four_totals,
    larger,
    largest,
    load,
    peek,
    poke,
    read,
    splat,
    store,
    total,
    write,
)

# Keys in a block: with 64 columns, half of a core's first cache.
BLOCK = 64
ZERO, MINUS_INFINITY = np.float32(0), np.float32(-np.inf)


@jit
def _padded(width):
    """The bytes of a row of floats in whole vectors, of an even number."""
    return (width + 2 * LANES - 1) // (2 * LANES) * 2 * LINE


@jit
def attention_bytes(heads, D, E):
    """What `attend` works in, where so many heads share a head of keys."""
    return heads * (_padded(D) + _padded(E) + LINE) + 4 * BLOCK


@jit
def _turn(x, angles, position, turned, width, scale, y):
    """Columns i and i + turned / 2 turned by the angles of the position, all times scale."""
    half, factor = turned // 2, splat(scale)
    cos, sin = angles[0] + 4 * position * half, angles[1] + 4 * position * half
    for i in range(0, half, LANES):
        n, at, other = half - i, 4 * i, 4 * (half + i)
        a, b, c, s = read(x + at, n), read(x + other, n), read(cos + at, n), read(sin + at, n)
        write(y + at, (a * c - b * s) * factor, n)
        write(y + other, (b * c + a * s) * factor, n)
    for i in range(turned, width, LANES):
        write(y + 4 * i, read(x + 4 * i, width - i) * factor, width - i)


@jit
def _score(q, k, k_row, keys, D, s):
    """The scores of some keys, padded with -inf to whole vectors; returns the largest."""
    store(s + (keys - 1) // LANES * LINE, splat(MINUS_INFINITY))
    whole = keys // 4 * 4
    for r in range(0, whole, 4):
        at = k + r * k_row
        sums_0 = sums_1 = sums_2 = sums_3 = splat(ZERO)
        for c in range(0, D, LANES):
            x, column, n = load(q + 4 * c), at + 4 * c, D - c
            sums_0 = sums_0 + x * read(column, n)
            sums_1 = sums_1 + x * read(column + k_row, n)
            sums_2 = sums_2 + x * read(column + 2 * k_row, n)
            sums_3 = sums_3 + x * read(column + 3 * k_row, n)
        a, b, c, d = four_totals(sums_0, sums_1, sums_2, sums_3)
        poke(s + 4 * r, a)
        poke(s + 4 * r + 4, b)
        poke(s + 4 * r + 8, c)
        poke(s + 4 * r + 12, d)
    for r in range(whole, keys):
        sums = splat(ZERO)
        for c in range(0, D, LANES):
            sums = sums + load(q + 4 * c) * read(k + r * k_row + 4 * c, D - c)
        poke(s + 4 * r, total(sums))
    peak = splat(MINUS_INFINITY)
    for r in range(0, keys, LANES):
        peak = larger(load(s + 4 * r), peak)
    return largest(peak)


@jit
def _add_values(o, factor, s, v, v_row, keys, E):
    """o = factor o + s v."""
    for c in range(0, E, 2 * LANES):
        left, right = load(o + 4 * c) * factor, load(o + 4 * c + LINE) * factor
        for r in range(keys):
            p, at = splat(peek(s + 4 * r)), v + r * v_row + 4 * c
            left = left + p * read(at, E - c)
            if E - c > LANES:
                right = right + p * read(at + LINE, E - c - LANES)
        store(o + 4 * c, left)
        store(o + 4 * c + LINE, right)


@jit
def _add_biases(s, biases, keys):
    """Add a number to each score; returns the largest."""
    peak = splat(MINUS_INFINITY)
    for r in range(0, keys, LANES):
        scores = load(s + 4 * r) + read(biases + 4 * r, keys - r)  # -inf beyond the keys stays -inf
        store(s + 4 * r, scores)
        peak = larger(scores, peak)
    return largest(peak)


@jit
def _add_block(q, k, v, row, keys, D, E, o, state, s, biases):
    """One block of keys and values for one head. state: the address of the peak and the sum so far."""
    peak = _score(q, k, row[0], keys, D, s)
    if biases:
        peak = _add_biases(s, biases, keys)
    peak = max(peek(state), peak)
    base, sums = splat(peak), splat(ZERO)
    for r in range(0, keys, LANES):
        p = exp(load(s + 4 * r) - base)
        store(s + 4 * r, p)
        sums = sums + p
    factor = exp(splat(peek(state)) - base)
    poke(state, peak)
    poke(state + 4, peek(state + 4) * largest(factor) + total(sums))
    _add_values(o, factor, s, v, row[1], keys, E)


@jit
def remember(source, cache, position, group, heads, groups, D, E, turned, angles):
    """Store the key and the value of a token for one head of keys.

    source: queries (heads groups D), keys (groups D) and values (groups E) of the token; cache: where the layer's keys
    and values begin; heads: those that share a head of keys.
    """
    key = source + 4 * (heads * groups * D + group * D)
    _turn(key, angles, position, turned, D, np.float32(1), cache[0] + 4 * (position * groups + group) * D)
    value, v = source + 4 * ((heads + 1) * groups * D + group * E), cache[1] + 4 * (position * groups + group) * E
    for c in range(0, E, LANES):
        write(v + 4 * c, read(value + 4 * c, E - c), E - c)


@jit
def attend(source, target, keys, seen, position, group, heads, groups, D, E, turned, scale, angles, biases, scratch):
    """For one head of keys: write what its heads of queries see.

    source: queries (heads groups D) of the token at `position`; keys: where keys and values begin; seen: the first that
    is seen, and where those end; heads: those that share a head of keys; biases: (address, length), see `program`.
    """
    q_row, o_row, row = _padded(D), _padded(E), (4 * groups * D, 4 * groups * E)
    q = scratch
    o = q + heads * q_row
    states = o + heads * o_row
    s = states + heads * LINE
    k, v = keys[0] + 4 * group * D, keys[1] + 4 * group * E
    for h in range(heads):
        store(q + h * q_row + q_row - LINE, splat(ZERO))  # the lanes beyond D
        store(q + h * q_row + q_row - 2 * LINE, splat(ZERO))
        _turn(source + 4 * (group * heads + h) * D, angles, position, turned, D, scale, q + h * q_row)
        for c in range(0, o_row, LINE):
            store(o + h * o_row + c, splat(ZERO))
        poke(states + h * LINE, MINUS_INFINITY)
        poke(states + h * LINE + 4, ZERO)
    for start in range(seen[0], seen[1], BLOCK):
        count = min(BLOCK, seen[1] - start)
        for h in range(heads):
            at, state, added = o + h * o_row, states + h * LINE, np.int64(0)
            if biases[0]:
                added = biases[0] + 4 * ((group * heads + h + 1) * biases[1] - 1 - position + start)
            k_at, v_at = k + start * row[0], v + start * row[1]
            _add_block(q + h * q_row, k_at, v_at, row, count, D, E, at, state, s, added)
    for h in range(heads):
        inverse, to = splat(np.float32(1) / peek(states + h * LINE + 4)), target + 4 * (group * heads + h) * E
        for c in range(0, E, LANES):
            write(to + 4 * c, load(o + h * o_row + 4 * c) * inverse, E - c)
