"""What stands before products: norms and activations of a row, by its address."""

import numpy as np

from ..gelu.cpu import exact_value, tanh_value
from ..jit import jit
from ..vectors import LANES, larger, read, sigmoid, splat, tanh, total, write
from .program import COPY, GATED, GELU, GELU_EXACT, LAYER_NORM, RELU, RMS_NORM, SILU

ZERO, ONE = np.float32(0), np.float32(1)


@jit
def _rms_norm(x, n, weight, eps, y):
    sums = splat(ZERO)
    for i in range(0, n, LANES):
        value = read(x + 4 * i, n - i)
        sums = sums + value * value
    rstd = splat(ONE / np.sqrt(total(sums) / np.float32(n) + eps))
    for i in range(0, n, LANES):
        left = n - i
        write(y + 4 * i, read(x + 4 * i, left) * rstd * read(weight + 4 * i, left), left)


@jit
def _layer_norm(x, n, weight, bias, eps, y):
    sums = splat(ZERO)
    for i in range(0, n, LANES):
        sums = sums + read(x + 4 * i, n - i)
    mean = total(sums) / np.float32(n)
    squares, rest = ZERO, ZERO
    for i in range(0, n, LANES):
        left = min(n - i, LANES)
        centred = read(x + 4 * i, left) - splat(mean)
        beyond = np.float32(LANES - left)  # lanes that hold -mean
        squares += total(centred * centred) - beyond * mean * mean
        rest += total(centred) + beyond * mean
    rest /= np.float32(n)  # what the rounding of the first mean left
    mean += rest
    rstd = ONE / np.sqrt(max(ZERO, squares / np.float32(n) - rest * rest) + eps)
    for i in range(0, n, LANES):
        left = n - i
        centred = (read(x + 4 * i, left) - splat(mean)) * splat(rstd)
        write(y + 4 * i, centred * read(weight + 4 * i, left) + read(bias + 4 * i, left), left)


@jit
def _activate(how, x, n, y):
    gated = how >= GATED
    how = how % GATED
    for i in range(0, n, LANES):
        value = read(x + 4 * i, n - i)
        if how == SILU:
            value = value * sigmoid(value)
        elif how == GELU:
            value = tanh_value(value)
        elif how == GELU_EXACT:
            value = exact_value(value)
        elif how == RELU:
            value = larger(splat(ZERO), value)  # written so that a NaN passes
        else:
            value = tanh(value)
        if gated:  # the gates before what they let through
            value = value * read(x + 4 * (n + i), n - i)
        write(y + 4 * i, value, n - i)


@jit
def apply(how, x, n, weight, bias, eps, y):
    """Write what the program says of a row of n floats (GATED: 2 n) to y; returns where the result lies.

    A norm may write to the row that it reads.
    """
    if how == COPY:
        return x
    if how == RMS_NORM:
        _rms_norm(x, n, weight, eps, y)
    elif how == LAYER_NORM:
        _layer_norm(x, n, weight, bias, eps, y)
    else:
        _activate(how, x, n, y)
    return y
