"""Layer normalisation in Numba: a row is read from memory once and stays in the cache for its passes.

In the forward the three passes over a row go on beside those over its neighbours, so that none waits for its own sums;
in the backward two rows share what is read and written of the weight and its gradient.

The backward sums dweight and dbias over all rows. Each of a fixed number of parts of the rows has its own
sums, added up at the end in their order, so that the result does not depend on the number of threads.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..pool import empty
from ..row_sums import add_parts, add_to, clear, parts_of
from ..simd import maximum
from ..streaming import put, streams
from ..vectors import LANES, LINE, fence, four_totals, read, splat, total, zero_from
from .reference import layer_norm, layer_norm_backward

ZERO, ONE = np.float32(0), np.float32(1)
# Tasks of rows in the forward: enough for the cores of a desktop.
PARTS = 16


@jit(forceinline=True)
def _step(at, left, x, centre, y, mean, rstd, weight, bias, streaming, sums):
    """`_turn` for 16 columns, or the first `left` of them."""
    sum_, rest, squares = sums
    off = read(x[1] + at, left) - centre
    if left < LANES:
        off = zero_from(off, left)
    normed = (read(x[2] + at, left) - mean) * rstd
    put(y + at, normed * read(weight + at, left) + read(bias + at, left), left, streaming)
    return sum_ + read(x[0] + at, left), rest + off, squares + off * off


@jit
def _turn(x, centre, y, mean, rstd, weight, bias, n, streaming):
    """Three rows, each a step further: the sum of the first, of the second the sums of its distances from `centre` and
    of their squares; y becomes the third, normalised. x: their addresses.
    """
    c, m, factor = splat(centre), splat(mean), splat(rstd)
    sums = splat(ZERO), splat(ZERO), splat(ZERO)
    whole = n // LANES * LANES
    for at in range(0, 4 * whole, LINE):
        sums = _step(at, LANES, x, c, y, m, factor, weight, bias, streaming, sums)
    if whole < n:
        sums = _step(4 * whole, n - whole, x, c, y, m, factor, weight, bias, streaming, sums)
    return total(sums[0]), total(sums[1]), total(sums[2])


@Twins
def _layer_norm(x, weight, bias, eps, y, means, rstds, streaming):
    rows, n = x.shape
    x_at, y_at, weight_at, bias_at = x.ctypes.data, y.ctypes.data, weight.ctypes.data, bias.ctypes.data
    count, parts = np.float32(n), min(PARTS, rows)
    for part in prange(parts):
        first, stop = part * rows // parts, (part + 1) * rows // parts
        centre = mean = rstd = ZERO
        for i in range(first, stop + 2):  # at the ends rows come again, whose results are not used or the same
            a, b, c = min(i, stop - 1), max(first, min(i - 1, stop - 1)), max(first, i - 2)
            at = x_at + 4 * n * a, x_at + 4 * n * b, x_at + 4 * n * c
            sum_, rest, squares = _turn(at, centre, y_at + 4 * n * c, mean, rstd, weight_at, bias_at, n, streaming)
            # What the rounding of the first mean left: it matters where that is large beside the deviations from it.
            rest /= count
            variance = maximum(ZERO, squares / count - rest * rest)
            mean, rstd = centre + rest, ONE / np.sqrt(variance + np.float32(eps))
            means[b], rstds[b] = mean, rstd
            centre = sum_ / count
        if streaming:
            fence()


@layer_norm.implement("numba", dtypes=("float32",))
def layer_norm_numba(x, weight, bias, *, eps=1e-5, out=None):
    y = room_for(out, x.shape)
    rows = as_rows(y)
    mean, rstd = np.empty((2, len(rows)), np.float32)
    _layer_norm(x.size, as_rows(x), as_carray(weight), as_carray(bias), eps, rows, mean, rstd, streams(rows))
    return deliver(y, out), mean.reshape(x.shape[:-1]), rstd.reshape(x.shape[:-1])


@jit
def _pair_sums(dy, x, weight, of_rows, sums, n, second):
    """Of two rows beside each other the sums of d = dy weight and of d normed; what they add to dweight and dbias.

    dy, x: where the first begins. of_rows: mean and rstd of both. second: n, or 0 where there is none.
    """
    row, dbias = 4 * n, sums + 4 * n
    mean0, rstd0, mean1, rstd1 = splat(of_rows[0]), splat(of_rows[1]), splat(of_rows[2]), splat(of_rows[3])
    d0, dn0, d1, dn1 = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
    for j in range(0, n, LANES):
        at, left, left1 = 4 * j, n - j, second - j
        w, dy0, dy1 = read(weight + at, left), read(dy + at, left), read(dy + row + at, left1)
        product0 = dy0 * ((read(x + at, left) - mean0) * rstd0)
        product1 = dy1 * ((read(x + row + at, left1) - mean1) * rstd1)
        d0, dn0, d1, dn1 = d0 + dy0 * w, dn0 + product0 * w, d1 + dy1 * w, dn1 + product1 * w
        add_to(sums + at, product0 + product1, left)
        add_to(dbias + at, dy0 + dy1, left)
    return four_totals(d0, dn0, d1, dn1)


@jit
def _row_backward(dy, x, weight, mean, rstd, mean_d, mean_dn, dx, n, streaming):
    centre, factor, of_d, of_dn = splat(mean), splat(rstd), splat(mean_d), splat(mean_dn)
    for j in range(0, n, LANES):
        at, left = 4 * j, n - j
        normed = (read(x + at, left) - centre) * factor
        d = read(dy + at, left) * read(weight + at, left)
        put(dx + at, factor * (d - of_d - normed * of_dn), left, streaming)


@Twins
def _layer_norm_backward(dy, x, weight, mean, rstd, dx, sums, streaming):
    rows, n = x.shape
    parts, count = len(sums), np.float32(n)
    dy_at, x_at, dx_at, weight_at, sums_at = (
        dy.ctypes.data, x.ctypes.data, dx.ctypes.data, weight.ctypes.data, sums.ctypes.data
    )  # fmt: skip
    for part in prange(parts):
        of_part, stop = sums_at + 8 * n * part, (part + 1) * rows // parts
        clear(of_part, 2 * n)
        for i in range(part * rows // parts, stop, 2):
            at, k = 4 * n * i, min(i + 1, stop - 1)
            of_rows = mean[i], rstd[i], mean[k], rstd[k]
            d = _pair_sums(dy_at + at, x_at + at, weight_at, of_rows, of_part, n, n * (k - i))
            _row_backward(
                dy_at + at, x_at + at, weight_at, mean[i], rstd[i], d[0] / count, d[1] / count, dx_at + at, n, streaming
            )
            if k > i:
                at += 4 * n
                _row_backward(
                    dy_at + at,
                    x_at + at,
                    weight_at,
                    mean[k],
                    rstd[k],
                    d[2] / count,
                    d[3] / count,
                    dx_at + at,
                    n,
                    streaming,
                )
        if streaming:
            fence()
    add_parts(sums_at, parts, 2 * n)


@layer_norm_backward.implement("numba", dtypes=("float32",))
def layer_norm_backward_numba(dy, x, weight, mean, rstd, *, out=None):
    dx = room_for(out, x.shape)
    rows, results = as_rows(x), as_rows(dx)
    sums = empty((parts_of(len(rows)), 2, x.shape[-1]))
    _layer_norm_backward(
        x.size, as_rows(dy), rows, as_carray(weight), as_carray(mean).reshape(-1), as_carray(rstd).reshape(-1),
        results, sums, streams(results),
    )  # fmt: skip
    return deliver(dx, out), sums[0, 0], sums[0, 1]
