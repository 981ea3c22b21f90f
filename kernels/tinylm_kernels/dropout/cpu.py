"""Dropout in Numba: Philox4x32-10 for many counters at once, in the 64-bit lanes that its products need.

A generator with a state makes one number after the other; Philox's numbers are functions of their counter, so
that the loop over the counters is vector code. The words are the reference's, bit for bit.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, deliver, jit, room_for
from .reference import MULTIPLIERS, ROUNDS, WEYL, dropout, threshold

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ZERO = np.float32(0)
# A random word costs about four times what the multiplication of an element in the cache does.
WORK = 4


@jit(forceinline=True)
def _philox(c0, c1, c2, c3, k0, k1):
    """Four words of counter and two of key, each in a uint64, give four random words in uint64s."""
    for _ in range(ROUNDS):
        p0, p1 = c0 * M0, c2 * M1
        c0, c1 = (p1 >> HALF) ^ c1 ^ k0, p1 & LOW
        c2, c3 = (p0 >> HALF) ^ c3 ^ k1, p0 & LOW
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return c0, c1, c2, c3


@jit(forceinline=True)
def _row(x, number, site, step, k0, k1, limit, factor, y):
    whole = len(x) // 4
    for block in range(whole):
        c0, c1, c2, c3 = _philox(np.uint64(block), number, site, step, k0, k1)
        j = 4 * block
        y[j] = x[j] * (factor if c0 >= limit else ZERO)
        y[j + 1] = x[j + 1] * (factor if c1 >= limit else ZERO)
        y[j + 2] = x[j + 2] * (factor if c2 >= limit else ZERO)
        y[j + 3] = x[j + 3] * (factor if c3 >= limit else ZERO)
    if 4 * whole < len(x):
        words = _philox(np.uint64(whole), number, site, step, k0, k1)
        for j in range(4 * whole, len(x)):
            y[j] = x[j] * (factor if words[j - 4 * whole] >= limit else ZERO)


@Twins
def _dropout(x, first_row, site, step, k0, k1, limit, factor, y):
    first_row, site, step = np.uint64(first_row), np.uint64(site), np.uint64(step)
    k0, k1, limit, factor = np.uint64(k0), np.uint64(k1), np.uint64(limit), np.float32(factor)
    for i in prange(len(x)):
        _row(x[i], first_row + np.uint64(i), site, step, k0, k1, limit, factor, y[i])


@dropout.implement("numba", dtypes=("float32",))
def dropout_numba(x, *, rate, seed, step, site, first_row=0, out=None):
    y = room_for(out, x.shape)
    shape = (len(x), x.size // max(len(x), 1))
    seed, factor = int(seed), 1 / (1 - rate)
    words = (int(first_row), int(site), int(step), seed & 0xFFFFFFFF, seed >> 32, threshold(rate))
    _dropout(WORK * x.size, as_carray(x).reshape(shape), *words, factor, y.reshape(shape))
    return deliver(y, out)
