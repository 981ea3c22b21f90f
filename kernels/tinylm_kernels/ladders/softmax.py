"""The ladder of softmax. Rungs fill y (N, C) from x (N, C)."""

import math

import numpy as np
from numba import prange

from ..jit import LAUNCH, STRICT, as_rows, deliver, jit, room_for
from ..simd import exp, maximum
from ..softmax import softmax
from . import rungs_of

ZERO, ONE = np.float32(0), np.float32(1)
MINUS_INFINITY = np.float32(-np.inf)


def _run(loops, x, *, out=None):
    y = room_for(out, x.shape)
    with LAUNCH:
        loops(as_rows(x), as_rows(y))
    return deliver(y, out)


rung = rungs_of(softmax, _run)


@rung
@jit(fastmath=STRICT)
def v0_loops(x, y):
    """What one writes in C: a loop for each step of the formula.

    Nothing here becomes vector code: `exp` is a call of the C library for each number, a maximum by `if` and a sum in
    order take one number at a time.
    """
    N, C = x.shape
    peaks, totals = np.empty(N, np.float32), np.empty(N)
    for n in range(N):
        peak = x[n, 0]
        for c in range(1, C):
            if x[n, c] > peak:
                peak = x[n, c]
        peaks[n] = peak if peak > -np.inf else 0  # a fully masked row: exp(-inf - 0) = 0 instead of NaN
    for n in range(N):
        totals[n] = 0
        for c in range(C):
            y[n, c] = math.exp(x[n, c] - peaks[n])
            totals[n] += y[n, c]
    for n in range(N):
        for c in range(C):
            y[n, c] /= totals[n] if totals[n] != 0 else 1


@rung
@jit
def v1_vectorised(x, y):
    """The same loops in terms that the compiler turns into vector code: 16 numbers to an instruction.

    exp is a polynomial, the maximum one instruction, and the sum may be taken in any order. Now memory is the bound:
    each of the three loops goes through all rows, which left the cache since the loop before.
    """
    N, C = x.shape
    peaks, totals = np.empty(N, np.float32), np.empty(N, np.float32)
    for n in range(N):
        row, peak = x[n], MINUS_INFINITY
        for c in range(C):
            peak = maximum(peak, row[c])
        peaks[n] = peak if peak != MINUS_INFINITY else ZERO
    for n in range(N):
        row, result, peak, total = x[n], y[n], peaks[n], ZERO
        for c in range(C):
            e = exp(row[c] - peak)
            result[c] = e
            total += e
        totals[n] = total
    for n in range(N):
        result, factor = y[n], ONE / totals[n] if totals[n] != ZERO else ONE
        for c in range(C):
            result[c] *= factor


@jit(forceinline=True)
def fused_row(x, y):
    peak = MINUS_INFINITY
    for c in range(len(x)):
        peak = maximum(peak, x[c])
    peak = peak if peak != MINUS_INFINITY else ZERO
    total = ZERO
    for c in range(len(x)):
        e = exp(x[c] - peak)
        y[c] = e
        total += e
    factor = ONE / total if total != ZERO else ONE
    for c in range(len(x)):
        y[c] *= factor


@rung
@jit
def v2_fused(x, y):
    """All steps for one row before the next: x is read from memory once and y written once, the rest is cache."""
    for n in range(len(x)):
        fused_row(x[n], y[n])


@rung
@jit(parallel=True)
def v3_parallel(x, y):
    """Rows do not depend on each other, so each core takes a share of them."""
    for n in prange(len(x)):
        fused_row(x[n], y[n])
