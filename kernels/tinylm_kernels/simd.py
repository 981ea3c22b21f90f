"""What the Numba kernels share: exp, tanh, sigmoid and max in forms that LLVM turns into vector code.

`math.exp` in a compiled loop is a scalar call of the C library, and a maximum written with `if` or `max()`
keeps the loop around it scalar; either costs ten times what the functions below do. All take and return
float32.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import EXACT, jit

__all__ = [
    "add_i32",
    "bits_of",
    "exp",
    "float_of",
    "maximum",
    "minimum",
    "mul_i32",
    "shl_i32",
    "sigmoid",
    "tanh",
]

F32, I32 = ir.FloatType(), ir.IntType(32)


# --- one instruction each ------------------------------------------------------------


@intrinsic
def bits_of(typing, x):
    """The bits of a float32 as an int32."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], I32)

    return types.int32(types.float32), emit


@intrinsic
def float_of(typing, bits):
    """The float32 with these int32 bits."""

    def emit(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], F32)

    return types.float32(types.int32), emit


@intrinsic
def add_i32(typing, a, b):
    """a + b that stays int32 and wraps; Numba's own + widens to int64, which halves the vector."""

    def emit(context, builder, signature, arguments):
        return builder.add(*arguments)

    return types.int32(types.int32, types.int32), emit


@intrinsic
def mul_i32(typing, a, b):
    """a * b that stays int32 and wraps."""

    def emit(context, builder, signature, arguments):
        return builder.mul(*arguments)

    return types.int32(types.int32, types.int32), emit


@intrinsic
def shl_i32(typing, a, places):
    """a << places that stays int32."""

    def emit(context, builder, signature, arguments):
        return builder.shl(*arguments)

    return types.int32(types.int32, types.int32), emit


def _emit_extremum(name, builder, arguments):
    function = builder.module.declare_intrinsic(f"llvm.{name}", [F32], ir.FunctionType(F32, [F32, F32]))
    # nsz: -0 and +0 may pass for each other, without which x86 needs three more instructions.
    return builder.call(function, arguments, fastmath=("nsz",))


@intrinsic
def maximum(typing, a, b):
    """The larger of two float32; NaN where either is NaN."""

    def emit(context, builder, signature, arguments):
        return _emit_extremum("maximum", builder, arguments)

    return types.float32(types.float32, types.float32), emit


@intrinsic
def minimum(typing, a, b):
    """The smaller of two float32; NaN where either is NaN."""

    def emit(context, builder, signature, arguments):
        return _emit_extremum("minimum", builder, arguments)

    return types.float32(types.float32, types.float32), emit


# --- the exponential and its relatives -----------------------------------------------

# x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer and leaves n in the low bits.
LOG2_E = np.float32(1.4426950408889634)
ROUND = np.float32(1.5 * 2**23)
# ln 2 in two parts, so that n * LN_2_HIGH is exact. Source: Cody and Waite 1980, chapter 6.
LN_2_HIGH = np.float32(355 / 512)
LN_2_LOW = np.float32(-2.12194440054690583e-4)
# e^r = 1 + r + r^2 (C2 + ... + C6 r^4): fitted for the least largest relative error on |r| <= ln 2 / 2, by
# iteratively reweighted least squares in float64; that error is 3.1e-9, a twentieth of float32's rounding.
C2 = np.float32(0.4999999343210699)
C3 = np.float32(0.1666652039882047)
C4 = np.float32(0.04166839078713291)
C5 = np.float32(0.008368745136180048)
C6 = np.float32(0.001381454010653465)
# Below LOWEST, ln 2^-126, the result would be subnormal and is 0; above HIGHEST, ln of the largest float32,
# inf.
LOWEST = np.float32(-87.33654)
HIGHEST = np.float32(88.72283)

ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
INFINITY = np.float32(np.inf)
# tanh(x) rounds to 1 from 9.02 on.
TANH_FLAT = np.float32(9.5)


@jit(fastmath=EXACT, forceinline=True)
def _times_power(p, rounded):
    """p 2^n, where n is in the low bits of `rounded`: an addition to the exponent bits of p."""
    return float_of(add_i32(bits_of(p), shl_i32(bits_of(rounded), np.int32(23))))


@jit(fastmath=EXACT, forceinline=True)
def _remainder(x, rounded):
    """r in x = n ln 2 + r."""
    n = rounded - ROUND
    return (x - n * LN_2_HIGH) - n * LN_2_LOW


@jit(fastmath=EXACT, forceinline=True)
def _expm1_near_zero(r):
    """e^r - 1 for |r| <= ln 2 / 2, with a small relative error down to r = 0."""
    return r + r * r * (C2 + r * (C3 + r * (C4 + r * (C5 + r * C6))))


@jit(fastmath=EXACT, forceinline=True)
def exp(x):
    """e^x to 1 ulp where that is a normal number, 0 below; exp(-inf) = 0, inf on overflow, NaN for NaN."""
    rounded = x * LOG2_E + ROUND
    y = _times_power(ONE + _expm1_near_zero(_remainder(x, rounded)), rounded)
    y = y if x <= HIGHEST else x + INFINITY  # inf + inf and finite + inf are inf, NaN + inf is NaN
    return ZERO if x < LOWEST else y


@jit(fastmath=EXACT, forceinline=True)
def sigmoid(x):
    """1 / (1 + e^-x), accurate relative to the result also where that is tiny."""
    return ONE / (ONE + exp(-x))


@jit(fastmath=EXACT, forceinline=True)
def tanh(x):
    """(e^2x - 1) / (e^2x + 1) through e^2x - 1, which does not cancel near 0. NaN for NaN."""
    x = TANH_FLAT if x > TANH_FLAT else x  # written so that a NaN passes
    x = -TANH_FLAT if x < -TANH_FLAT else x
    x = x + x
    rounded = x * LOG2_E + ROUND
    power = _times_power(ONE, rounded)
    expm1 = power * _expm1_near_zero(_remainder(x, rounded)) + (power - ONE)
    return expm1 / (expm1 + TWO)
