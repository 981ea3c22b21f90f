"""Softmax and cross-entropy in Numba: three passes over a row of logits while it is in the cache.

The maximum; exp and its sum; the gradient. The logits of a language model are its largest array by far, and
this reads and writes them once; in place, where `out` is `logits`, it needs no second array of that size.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, as_rows, deliver, jit, room_for
from ..simd import exp, maximum
from .reference import IGNORE, cross_entropy, cross_entropy_with_gradient

ZERO, ONE = np.float32(0), np.float32(1)
MINUS_INFINITY = np.float32(-np.inf)
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


@jit(forceinline=True)
def _mean(x):
    """The mean in float64: unlike the terms of sum exp, these can be far from a sum that is not."""
    total = 0.0
    for j in range(len(x)):
        total += np.float64(x[j])
    return total / len(x)


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
    for i in prange(len(logits)):
        weight = _weight(weights, i, targets[i], ignore_index)
        if weight == ZERO:
            losses[i] = ZERO
            continue
        x, s = logits[i], np.float32(smoothing)
        peak = _peak(x)
        mean = np.float32(_mean(x) - peak) if s != ZERO else ZERO
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


@jit(forceinline=True)
def _row_with_gradient(x, target, scale, smoothing):
    """The loss of row x, which becomes its gradient."""
    peak = _peak(x)
    hit = x[target] - peak
    mean = np.float32(_mean(x) - peak) if smoothing != ZERO else ZERO
    total = ZERO
    for j in range(len(x)):
        e = exp(x[j] - peak)
        x[j] = e
        total += e
    factor, spread = scale / total, scale * smoothing / np.float32(len(x))
    for j in range(len(x)):
        x[j] = x[j] * factor - spread
    x[target] -= scale * (ONE - smoothing)
    return _loss(total, hit, mean, smoothing)


@Twins
def _with_gradient(logits, targets, weights, scale, ignore_index, smoothing, in_place, losses, gradient):
    for i in prange(len(gradient)):
        x, row = logits[i], gradient[i]
        weight = _weight(weights, i, targets[i], ignore_index)
        if weight == ZERO:
            losses[i] = ZERO
            for j in range(len(row)):
                row[j] = ZERO
            continue
        # All passes are in place: LLVM does not vectorise a loop from one array to another where the two are
        # the same, and the copy of a row stays in the cache.
        if not in_place:
            for j in range(len(row)):
                row[j] = x[j]
        loss = _row_with_gradient(row, targets[i], np.float32(scale) * weight, np.float32(smoothing))
        losses[i] = weight * loss


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
        logits is gradient,
        losses,
        gradient,
    )
    return losses, deliver(gradient, out)
