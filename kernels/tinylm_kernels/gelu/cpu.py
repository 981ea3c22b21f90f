"""GELU in Numba: one exp and one division make an element in either form, as (1 + tanh u) / 2 is the sigmoid of 2u.

NumPy writes an array of the full size for each of its steps, ten or thirty; here an element stays in a register.
"""

from functools import partial

import numpy as np
from numba import prange

from ..jit import EXACT, Twins, as_carray, deliver, jit, room_for
from ..simd import exp, maximum, minimum, sigmoid
from .reference import CUBIC, DENSITY_AT_0, FLAT, SQRT_2_OVER_PI, gelu, gelu_backward

ZERO, ONE = np.float32(0), np.float32(1)
# 2u = x (LINEAR + CUBED x^2), and its slope d 2u / dx = LINEAR + 3 CUBED x^2.
LINEAR = np.float32(2 * SQRT_2_OVER_PI)
CUBED = np.float32(2 * SQRT_2_OVER_PI * CUBIC)
CUBED_3 = np.float32(3 * 2 * SQRT_2_OVER_PI * CUBIC)


@jit(fastmath=EXACT, forceinline=True)
def _value(x):
    return x * sigmoid(x * (LINEAR + CUBED * (x * x)))


@jit(fastmath=EXACT, forceinline=True)
def _slope(x):
    """s + x s (1 - s) d 2u / dx with s = sigmoid(2u), where 1 - s, which would cancel, is e^-2u s."""
    square = x * x
    twice_u = x * (LINEAR + CUBED * square)
    power = exp(minimum(twice_u, -twice_u))  # of -|2u|: no overflow
    s = ONE / (ONE + power)
    product = power * s * s
    return (s if x > ZERO else power * s) + x * product * (LINEAR + CUBED_3 * square)


# The series of reference.PHI_TAIL to degree 10: off by 2e-8, a third of float32's rounding.
PHI_TAIL = tuple(
    np.float32(c)
    for c in (
        0.0944106426, -0.170397689, 0.12437916, -0.0717080596, 0.0308659371,
        -0.00848834962, 0.000502586537, 0.000629872632, -0.000177111768, -3.5776685e-05, 1.87867177e-05,
    )
)  # fmt: skip
HALF, FOUR, FARTHEST, DENSITY = np.float32(0.5), np.float32(4), np.float32(FLAT), np.float32(DENSITY_AT_0)


@jit(fastmath=EXACT, forceinline=True)
def _phi_tail(u, power):
    """Phi(-u) for u >= 0, from e^(-u^2 / 2)."""
    t = (u - FOUR) / (u + FOUR)
    series = PHI_TAIL[10]
    for i in range(9, -1, -1):
        series = series * t + PHI_TAIL[i]
    return series * power


@jit(fastmath=EXACT, forceinline=True)
def _exact_value(x):
    u = minimum(maximum(x, -x), FARTHEST)
    tail = _phi_tail(u, exp(-HALF * u * u))
    return x * (tail if x < ZERO else ONE - tail)


@jit(fastmath=EXACT, forceinline=True)
def _exact_slope(x):
    u = minimum(maximum(x, -x), FARTHEST)
    power = exp(-HALF * u * u)
    tail = _phi_tail(u, power)
    return (tail if x < ZERO else ONE - tail) + x * (DENSITY * power)


@partial(Twins, fastmath=EXACT)
def _tanh_form(x, y):
    for i in prange(len(x)):
        y[i] = _value(x[i])


@partial(Twins, fastmath=EXACT)
def _exact_form(x, y):
    for i in prange(len(x)):
        y[i] = _exact_value(x[i])


@gelu.implement("numba", dtypes=("float32",))
def gelu_numba(x, *, exact=False, out=None):
    y = room_for(out, x.shape)
    form = _exact_form if exact else _tanh_form
    form(x.size, as_carray(x).reshape(-1), y.reshape(-1))
    return deliver(y, out)


@partial(Twins, fastmath=EXACT)
def _tanh_form_backward(dy, x, dx):
    for i in prange(len(x)):
        dx[i] = dy[i] * _slope(x[i])


@partial(Twins, fastmath=EXACT)
def _exact_form_backward(dy, x, dx):
    for i in prange(len(x)):
        dx[i] = dy[i] * _exact_slope(x[i])


@gelu_backward.implement("numba", dtypes=("float32",))
def gelu_backward_numba(dy, x, *, exact=False, out=None):
    dx = room_for(out, x.shape)
    form = _exact_form_backward if exact else _tanh_form_backward
    form(x.size, as_carray(dy).reshape(-1), as_carray(x).reshape(-1), dx.reshape(-1))
    return deliver(dx, out)
