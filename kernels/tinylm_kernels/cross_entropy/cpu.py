"""Softmax and cross-entropy in Numba: passes over a row of logits while it is in the cache.

The maximum; exp and its sum, and beside it the gradient of the row before, as in softmax. The logits of a language
model are its largest array by far, and this reads and writes them once; in place, where `out` is `logits`, it needs no
second array of that size.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..simd import exp, maximum
from ..softmax.rows import AHEAD, BLOCK, exponentials, peak_of
from ..vectors import LANES, peek, poke, splat, write
from .reference import IGNORE, cross_entropy, cross_entropy_with_gradient

ZERO, ONE = np.float32(0), np.float32(1)
MINUS_INFINITY = np.float32(-np.inf)
# Tasks of rows: enough for the cores of a desktop.
PARTS = 16
_ALL_ONE = np.zeros(0, np.float32)  # stands for weights that are not given


@jit(forceinline=True)
def _peak(x):
    peak = MINUS_INFINITY
    for j in range(len(x)):
        peak = maximum(peak, x[j])
    return peak


@jit(forceinline=True)
def _sum_of_exp(x, peak):
    total = ZERO
    for j in range(len(x)):
        total += exp(x[j] - peak)
    return total


@jit
def _mean(x, n, peak):
    """The mean of n floats at an address, less peak, in float64: unlike the terms of sum exp, these can be far from a
    sum that is not."""
    total = 0.0
    for j in range(n):
        total += np.float64(peek(x + 4 * j))
    return np.float32(total / n - peak)


@jit(forceinline=True)
def _loss(total, hit, mean, smoothing):
    """The loss from sum exp(x - peak), and from the target's logit and the mean logit, both less peak."""
    log_sum = np.log(total)
    if smoothing == ZERO:
        return log_sum - hit
    return (ONE - smoothing) * (log_sum - hit) + smoothing * (log_sum - mean)


@jit(forceinline=True)
def _weight(weights, i, target, ignore_index):
    """The weight of row i, 0 where it does not count."""
    if target == ignore_index:
        return ZERO
    return weights[i] if len(weights) else ONE


@Twins
def _cross_entropy(logits, targets, weights, ignore_index, smoothing, losses):
    logits_at = logits.ctypes.data
    for i in prange(len(logits)):
        weight = _weight(weights, i, targets[i], ignore_index)
        if weight == ZERO:
            losses[i] = ZERO
            continue
        x, s = logits[i], np.float32(smoothing)
        peak = _peak(x)
        mean = _mean(logits_at + 4 * i * len(x), len(x), peak) if s != ZERO else ZERO
        losses[i] = weight * _loss(_sum_of_exp(x, peak), x[targets[i]] - peak, mean, s)


@cross_entropy.implement("numba", dtypes=("float32",))
def cross_entropy_numba(logits, targets, weights=None, *, ignore_index=IGNORE, label_smoothing=0.0):
    losses = np.empty(len(targets), np.float32)
    _cross_entropy(
        logits.size,
        as_rows(logits),
        as_carray(targets.astype(np.int64, copy=False)),
        _ALL_ONE if weights is None else as_carray(weights),
        ignore_index,
        float(label_smoothing),
        losses,
    )
    return losses


@jit
def _rows_with_gradient(
    logits, columns, first, stop, targets, weights, scale, ignore_index, smoothing, gradient, losses
):
    """The rows from first to stop; logits, gradient: the addresses of the first of all."""
    row, last = 4 * columns, np.int64(0)
    factor, spread, weight_before = ZERO, ZERO, ZERO
    for i in range(first, stop + 1):  # the last turn only makes the gradient of the row before
        weight = _weight(weights, i, targets[i], ignore_index) if i < stop else ZERO
        x, e = logits + i * row, gradient + i * row
        peak, hit, mean, total = ZERO, ZERO, ZERO, ZERO
        if weight != ZERO:
            peak = peak_of(x, columns)
            hit = peek(x + 4 * targets[i]) - peak
            mean = _mean(x, columns, peak) if smoothing != ZERO else ZERO
        for j in range(0, columns, BLOCK):
            n = min(BLOCK, columns - j)
            made, finished = n if weight != ZERO else 0, n if last else 0
            at, before = 4 * j, last + 4 * j
            total += exponentials(
                x + at, peak, e + at, made, before, before, factor, spread, finished, max(row, AHEAD), False
            )
        if last:
            there = last + 4 * targets[i - 1]
            poke(there, peek(there) - scale * weight_before * (ONE - smoothing))
        last = np.int64(0)
        if weight != ZERO:
            losses[i] = weight * _loss(total, hit, mean, smoothing)
            last, weight_before = e, weight
            factor, spread = scale * weight / total, scale * weight * smoothing / np.float32(columns)
        elif i < stop:
            losses[i] = ZERO
            for j in range(0, columns, LANES):
                write(e + 4 * j, splat(ZERO), columns - j)


@Twins
def _with_gradient(logits, targets, weights, scale, ignore_index, smoothing, losses, gradient):
    rows, columns = gradient.shape
    logits_at, gradient_at = logits.ctypes.data, gradient.ctypes.data
    parts = min(PARTS, rows)
    for part in prange(parts):
        _rows_with_gradient(
            logits_at,
            columns,
            part * rows // parts,
            (part + 1) * rows // parts,
            targets,
            weights,
            np.float32(scale),
            ignore_index,
            np.float32(smoothing),
            gradient_at,
            losses,
        )


@cross_entropy_with_gradient.implement("numba", dtypes=("float32",))
def cross_entropy_with_gradient_numba(
    logits, targets, weights=None, *, scale=1.0, ignore_index=IGNORE, label_smoothing=0.0, out=None
):
    gradient = room_for(out, logits.shape)
    losses = np.empty(len(targets), np.float32)
    _with_gradient(
        logits.size,
        as_rows(logits),
        as_carray(targets.astype(np.int64, copy=False)),
        _ALL_ONE if weights is None else as_carray(weights),
        float(scale),
        ignore_index,
        float(label_smoothing),
        losses,
        gradient,
    )
    return losses, deliver(gradient, out)
