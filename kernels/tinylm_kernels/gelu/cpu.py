"""GELU in Numba: (1 + tanh u) / 2 is the sigmoid of 2u, so that one exp and one division make an element.

NumPy writes an array of the full size for each of its ten steps; here an element stays in a register.
"""

from functools import partial

import numpy as np
from numba import prange

from ..jit import EXACT, Twins, as_carray, deliver, jit, room_for
from ..simd import exp, minimum, sigmoid
from .reference import CUBIC, SQRT_2_OVER_PI, gelu, gelu_backward

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


@partial(Twins, fastmath=EXACT)
def _gelu(x, y):
    for i in prange(len(x)):
        y[i] = _value(x[i])


@gelu.implement("numba", dtypes=("float32",))
def gelu_numba(x, *, out=None):
    y = room_for(out, x.shape)
    _gelu(x.size, as_carray(x).reshape(-1), y.reshape(-1))
    return deliver(y, out)


@partial(Twins, fastmath=EXACT)
def _gelu_backward(dy, x, dx):
    for i in prange(len(x)):
        dx[i] = dy[i] * _slope(x[i])


@gelu_backward.implement("numba", dtypes=("float32",))
def gelu_backward_numba(dy, x, *, out=None):
    dx = room_for(out, x.shape)
    _gelu_backward(x.size, as_carray(dy).reshape(-1), as_carray(x).reshape(-1), dx.reshape(-1))
    return deliver(dx, out)
