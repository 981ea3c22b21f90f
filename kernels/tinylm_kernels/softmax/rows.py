"""The two passes over a row of which softmax and cross-entropy are made, by the address of its first number."""

import numpy as np

from ..jit import jit
from ..streaming import put
from ..vectors import LANES, LINE, exp, hide_from, larger, largest, load, prefetch, read, splat, store, total, write

__all__ = ["AHEAD", "BLOCK", "exponentials", "peak_of"]

ZERO, MINUS_INFINITY = np.float32(0), np.float32(-np.inf)
# Columns whose exponentials are summed at a time: float32 sums of more would lose digits.
BLOCK = 2048
# Bytes ahead that numbers are asked for, at least.
AHEAD = 4096


@jit
def peak_of(x, n):
    """The largest of n floats, 0 where all are -inf: exp(-inf - 0) = 0 instead of NaN. A NaN may be passed over."""
    a = b = c = d = splat(MINUS_INFINITY)
    whole = n // (4 * LANES) * 4 * LANES
    for i in range(0, whole * 4, 4 * LINE):
        a, b = larger(load(x + i), a), larger(load(x + i + LINE), b)
        c, d = larger(load(x + i + 2 * LINE), c), larger(load(x + i + 3 * LINE), d)
    for j in range(whole, n, LANES):
        a = larger(hide_from(read(x + j * 4, n - j), n - j), a)
    peak = largest(larger(larger(a, b), larger(c, d)))
    return ZERO if peak == MINUS_INFINITY else peak


@jit
def exponentials(x, peak, e, n, last, y, factor, shift, divided, ahead, streaming):
    """e = exp(x - peak), n floats, and its sum; meanwhile y becomes factor last - shift, `divided` floats."""
    base, share, less = splat(peak), splat(factor), splat(shift)
    a = b = splat(ZERO)
    both = min(n, divided) // (2 * LANES) * 2 * LANES
    for i in range(0, both * 4, 2 * LINE):
        left, right = exp(load(x + i) - base), exp(load(x + i + LINE) - base)
        put(y + i, load(last + i) * share - less, LANES, streaming)
        put(y + i + LINE, load(last + i + LINE) * share - less, LANES, streaming)
        prefetch(x + i + ahead)
        prefetch(x + i + ahead + LINE)
        store(e + i, left)
        store(e + i + LINE, right)
        a, b = a + left, b + right
    for j in range(both, n, LANES):
        rest = exp(hide_from(read(x + j * 4, n - j), n - j) - base)
        write(e + j * 4, rest, n - j)
        if j & LANES:  # the same sum wherever the loop before ended
            b = b + rest
        else:
            a = a + rest
    for j in range(both, divided, LANES):
        put(y + j * 4, read(last + j * 4, divided - j) * share - less, divided - j, streaming)
    return total(a + b)
