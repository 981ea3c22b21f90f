"""GELU in Numba: one exp and one division make an element in either form, as (1 + tanh u) / 2 is the sigmoid of 2u.

NumPy writes an array of the full size for each of its steps, ten or thirty; here an element stays in a register.
"""

import numpy as np
from numba import prange

from ..jit import Twins, as_carray, deliver, jit, room_for
from ..streaming import CHUNK, put, streams
from ..vectors import LANES, exp, fence, larger, read, sigmoid, smaller, splat, where_negative
from .reference import CUBIC, DENSITY_AT_0, FLAT, SQRT_2_OVER_PI, gelu, gelu_backward

ZERO, ONE = np.float32(0), np.float32(1)
# 2u = x (LINEAR + CUBED x^2), and its slope d 2u / dx = LINEAR + 3 CUBED x^2.
LINEAR = np.float32(2 * SQRT_2_OVER_PI)
CUBED = np.float32(2 * SQRT_2_OVER_PI * CUBIC)
CUBED_3 = np.float32(3 * 2 * SQRT_2_OVER_PI * CUBIC)


@jit
def tanh_value(x):
    return x * sigmoid(x * (splat(LINEAR) + splat(CUBED) * (x * x)))


@jit
def _derivative(x):
    """s + x s (1 - s) d 2u / dx with s = sigmoid(2u), where 1 - s, which would cancel, is e^-2u s."""
    square = x * x
    twice_u = x * (splat(LINEAR) + splat(CUBED) * square)
    power = exp(smaller(twice_u, splat(ZERO) - twice_u))  # of -|2u|: no overflow
    s = splat(ONE) / (splat(ONE) + power)
    rest = power * s
    return where_negative(x, rest, s) + x * (rest * s) * (splat(LINEAR) + splat(CUBED_3) * square)


# The series of reference.PHI_TAIL to degree 10: off by 2e-8, a third of float32's rounding.
PHI_TAIL = tuple(
    np.float32(c)
    for c in (
        0.0944106426, -0.170397689, 0.12437916, -0.0717080596, 0.0308659371,
        -0.00848834962, 0.000502586537, 0.000629872632, -0.000177111768, -3.5776685e-05, 1.87867177e-05,
    )
)  # fmt: skip
MINUS_HALF, FOUR, FARTHEST, DENSITY = np.float32(-0.5), np.float32(4), np.float32(FLAT), np.float32(DENSITY_AT_0)


@jit
def _phi_and_power(x):
    """Phi(x) and e^(-x^2 / 2)."""
    u = smaller(splat(FARTHEST), larger(x, splat(ZERO) - x))
    power = exp(splat(MINUS_HALF) * u * u)
    t = (u - splat(FOUR)) / (u + splat(FOUR))
    series = splat(PHI_TAIL[10])
    for i in range(9, -1, -1):
        series = series * t + splat(PHI_TAIL[i])
    tail = series * power  # Phi(-u)
    return where_negative(x, tail, splat(ONE) - tail), power


@jit
def exact_value(x):
    phi, _ = _phi_and_power(x)
    return x * phi


@jit
def _exact_derivative(x):
    phi, power = _phi_and_power(x)
    return phi + x * (splat(DENSITY) * power)


@jit
def _chunk(x, y, n, exact, streaming):
    if exact:
        for i in range(0, n, LANES):
            put(y + 4 * i, exact_value(read(x + 4 * i, n - i)), n - i, streaming)
    else:
        for i in range(0, n, LANES):
            put(y + 4 * i, tanh_value(read(x + 4 * i, n - i)), n - i, streaming)


@Twins
def _gelu(x, y, exact, streaming):
    x_at, y_at = x.ctypes.data, y.ctypes.data
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        _chunk(x_at + 4 * start, y_at + 4 * start, min(CHUNK, len(x) - start), exact, streaming)
        if streaming:
            fence()


@gelu.implement("numba", dtypes=("float32",))
def gelu_numba(x, *, exact=False, out=None):
    y = room_for(out, x.shape)
    flat = y.reshape(-1)
    _gelu(x.size, as_carray(x).reshape(-1), flat, exact, streams(flat))
    return deliver(y, out)


@jit
def _backward_chunk(dy, x, dx, n, exact, streaming):
    if exact:
        for i in range(0, n, LANES):
            at, left = 4 * i, n - i
            put(dx + at, read(dy + at, left) * _exact_derivative(read(x + at, left)), left, streaming)
    else:
        for i in range(0, n, LANES):
            at, left = 4 * i, n - i
            put(dx + at, read(dy + at, left) * _derivative(read(x + at, left)), left, streaming)


@Twins
def _gelu_backward(dy, x, dx, exact, streaming):
    dy_at, x_at, dx_at = dy.ctypes.data, x.ctypes.data, dx.ctypes.data
    for chunk in prange((len(x) + CHUNK - 1) // CHUNK):
        at, n = 4 * chunk * CHUNK, min(CHUNK, len(x) - chunk * CHUNK)
        _backward_chunk(dy_at + at, x_at + at, dx_at + at, n, exact, streaming)
        if streaming:
            fence()


@gelu_backward.implement("numba", dtypes=("float32",))
def gelu_backward_numba(dy, x, *, exact=False, out=None):
    dx = room_for(out, x.shape)
    flat = dx.reshape(-1)
    _gelu_backward(x.size, as_carray(dy).reshape(-1), as_carray(x).reshape(-1), flat, exact, streams(flat))
    return deliver(dx, out)
