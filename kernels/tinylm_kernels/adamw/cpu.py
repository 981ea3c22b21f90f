"""Adam in Numba: one pass that reads p, g, m and v once and writes p, m and v, at the speed of the memory.

What does not depend on the element (the bias corrections, the decay) is computed before the loop in float64.
"""

import math
from functools import partial

import numpy as np
from numba import prange

from ..jit import EXACT, Twins, as_carray, deliver, jit, room_for
from .reference import adamw, squared_norm

ZERO = np.float32(0)
# Elements summed by one task of the norm; fixed, so that the sum does not depend on the number of threads.
CHUNK = 1 << 16


@partial(Twins, fastmath=EXACT)
def _adamw(p, g, m, v, rate, correction, shrink, beta1, beta2, rest1, rest2, eps, penalty, scale):
    rate, correction, shrink = np.float32(rate), np.float32(correction), np.float32(shrink)
    beta1, beta2, rest1, rest2 = np.float32(beta1), np.float32(beta2), np.float32(rest1), np.float32(rest2)
    eps, penalty, scale = np.float32(eps), np.float32(penalty), np.float32(scale)
    for i in prange(len(p)):
        gradient = scale * g[i]
        if penalty != ZERO:
            gradient += penalty * p[i]
        m[i] = beta1 * m[i] + rest1 * gradient
        v[i] = beta2 * v[i] + rest2 * (gradient * gradient)
        p[i] = shrink * p[i] - rate * m[i] / (np.sqrt(v[i]) * correction + eps)


@adamw.implement("numba", dtypes=("float32",))
def adamw_numba(p, g, m, v, *, lr, beta1, beta2, eps, weight_decay, step, decoupled=True, scale=1.0, out=None):
    outs = (None, None, None) if out is None else out
    results = tuple(room_for(o, p.shape) for o in outs)
    for result, before in zip(results, (p, m, v), strict=True):
        if result is not before:  # the kernel works in place
            result[...] = before
    _adamw(
        p.size,
        results[0].reshape(-1),
        as_carray(g).reshape(-1),
        results[1].reshape(-1),
        results[2].reshape(-1),
        lr / (1 - beta1**step),
        1 / math.sqrt(1 - beta2**step),
        1 - lr * weight_decay if decoupled else 1.0,
        beta1,
        beta2,
        1 - beta1,
        1 - beta2,
        eps,
        0.0 if decoupled else weight_decay,
        scale,
    )
    return tuple(deliver(result, o) for result, o in zip(results, outs, strict=True))


@jit(forceinline=True)
def _sum_of_squares(x):
    total = 0.0
    for i in range(len(x)):
        wide = np.float64(x[i])
        total += wide * wide
    return total


@Twins
def _squared_norm(x, sums):
    for chunk in prange(len(sums)):
        sums[chunk] = _sum_of_squares(x[chunk * CHUNK : (chunk + 1) * CHUNK])


@squared_norm.implement("numba", dtypes=("float32",))
def squared_norm_numba(x):
    flat = as_carray(x).reshape(-1)
    sums = np.empty((len(flat) + CHUNK - 1) // CHUNK)
    _squared_norm(x.size, flat, sums)
    return math.fsum(sums)
