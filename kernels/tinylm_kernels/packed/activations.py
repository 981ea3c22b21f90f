"""Rows x of a product with packed weights, in the form in which the products read them.

Formats of integer codes multiply integers: each 32 numbers of x are rounded to the nearest of 255 multiples of
max |x| / 127, so that no number is off by more than max |x| / 254. A unit of 128 numbers becomes five vectors:

    64 bytes      signed codes, the first 16 of each 32
    64 bytes      the last 16 of each 32
    16 int32      minus the sums of the codes of a lane, eight of them; a format's offset is multiplied with these
    16 float32    the step of the codes of each lane
    16 float32    the sums of the rounded numbers of a lane; a format's minima are multiplied with these

Where a row does not divide into units, the last one is its last 128 numbers, and zeros in place of those that the unit
before has: so the weights of a row are read in whole units too, never beyond its ends.

Interleaved weights (`interleaved`) are multiplied with rows of codes in their order, and after them, for each 32, the
steps, minus the sums of the codes, and the sums of the rounded numbers, 4 bytes each. Those with a scale for a whole
row take x with one step for a whole row, its codes padded to 64 with zeros, and after them the step and minus the sum.

Formats of floats read x in float32, and zeros beyond the end up to a whole vector.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..integer_dot import BYTES, CODES, emit_dot
from ..jit import jit
from ..simd import ROUND
from ..vectors import (
    F32,
    I32,
    I64,
    LANES,
    LANES_I32,
    VECTOR,
    emit_across,
    emit_call,
    emit_load,
    emit_splat,
    larger,
    largest,
    pointer_to,
    poke,
    read,
    splat,
    store,
    total,
    vector,
)
from .codes import BLOCKS, UNIT

__all__ = [
    "BLOCKED",
    "FLOATS",
    "MINUS_SUMS",
    "STEPS",
    "SUMS",
    "UNITS",
    "UNIT_BYTES",
    "WAYS",
    "WHOLE",
    "prepare_row",
    "prepared_bytes",
]

# The ways in which a row is prepared, and how many there are.
FLOATS, UNITS, BLOCKED, WHOLE = range(4)
WAYS = 4
BLOCK, CODE_BYTES = 32, ir.VectorType(ir.IntType(8), LANES)
ZERO, MOST = np.float32(0), np.float32(127)

UNIT_BYTES = 5 * 64
MINUS_SUMS, STEPS, SUMS = 128, 192, 256  # where the vectors of a unit lie, after the codes


def _constant(value):
    return ir.Constant(VECTOR, [float(value)] * LANES)


def _emit_rounded(builder, part, inverse):
    """The whole numbers, int32, nearest to those of a vector times `inverse`."""
    rounded = builder.fadd(builder.fmul(part, inverse), _constant(ROUND))  # whole in its low bits, as in simd.py
    bits = builder.bitcast(rounded, LANES_I32)
    return builder.sub(bits, ir.Constant(LANES_I32, [int(ROUND.view("int32"))] * LANES))


def _emit_codes(builder, pair):
    """32 numbers, two vectors, as (codes, two vectors of int32; their step)."""
    peak, poison = _constant(0), _constant(0)
    for part in pair:
        magnitude = emit_call(builder, "llvm.fabs.v16f32", VECTOR, [part])
        peak = builder.select(builder.fcmp_ordered(">", magnitude, peak), magnitude, peak)
        poison = builder.fadd(poison, builder.fmul(part, _constant(0)))  # NaN where a number is none or infinite
    peak = emit_across(builder, peak, lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
    poison = emit_across(builder, poison, builder.fadd)
    inverse = builder.select(builder.fcmp_ordered("==", peak, F32(0)), F32(0), builder.fdiv(F32(127), peak))
    inverse = emit_splat(builder, inverse)
    codes = [_emit_rounded(builder, part, inverse) for part in pair]
    return codes, builder.fadd(builder.fdiv(peak, F32(127)), poison)


@intrinsic
def _round_unit(typingctx, x, skipped, unit):
    """Write a unit of 128 floats at x, the first of which, a multiple of 32, become zeros."""

    def codegen(context, builder, sig, args):
        x, skipped, unit = args
        halves, steps = ([], []), []
        for block in range(BLOCKS):
            present = builder.icmp_signed("<=", skipped, I64(32 * block))
            pair = [emit_load(builder, builder.add(x, I64(4 * (32 * block + first)))) for first in (0, LANES)]
            codes, step = _emit_codes(builder, [builder.select(present, part, _constant(0)) for part in pair])
            steps.append(emit_splat(builder, step))
            for half, part in zip(halves, codes, strict=True):
                half.append(part)
        first, last = (builder.trunc(_joined(builder, half), BYTES) for half in halves)
        zero, ones = ir.Constant(LANES_I32, None), ir.Constant(BYTES, [1] * CODES)
        sums = emit_dot(builder, emit_dot(builder, zero, ones, first, narrow=True), ones, last, narrow=True)
        every = _joined(builder, steps)
        order = ir.Constant(LANES_I32, [lane // 4 * LANES for lane in range(LANES)])
        step = builder.shuffle_vector(every, every, order)
        rounded = builder.fmul(builder.sitofp(sums, VECTOR), step)
        parts = (0, first), (CODES, last), (MINUS_SUMS, builder.sub(zero, sums)), (STEPS, step), (SUMS, rounded)
        for at, value in parts:
            builder.store(value, pointer_to(builder, builder.add(unit, I64(at)), value.type), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


def _joined(builder, vectors):
    """The lanes of some vectors of 16, side by side; their number is a power of two."""
    while len(vectors) > 1:
        size = 2 * vectors[0].type.count
        order = ir.Constant(ir.VectorType(I32, size), list(range(size)))
        vectors = [builder.shuffle_vector(*vectors[i : i + 2], order) for i in range(0, len(vectors), 2)]
    return vectors[0]


def _put(builder, address, offset, value):
    builder.store(value, pointer_to(builder, builder.add(address, I64(offset)), value.type), align=1)


@intrinsic
def _round_block(typingctx, x, codes, numbers, row):
    """Write the 32 codes of 32 floats, and three numbers, `row` bytes apart: step, minus the sum, rounded sum."""

    def codegen(context, builder, sig, args):
        x, codes, numbers, row = args
        parts, step = _emit_codes(builder, [emit_load(builder, builder.add(x, I64(at))) for at in (0, 4 * LANES)])
        for at, part in zip((0, LANES), parts, strict=True):
            _put(builder, codes, at, builder.trunc(part, CODE_BYTES))
        sum_ = emit_call(builder, "llvm.vector.reduce.add.v16i32", I32, [builder.add(*parts)])
        _put(builder, numbers, 0, step)
        _put(builder, builder.add(numbers, row), 0, builder.sub(I32(0), sum_))
        rounded = builder.fmul(builder.sitofp(sum_, F32), step)
        _put(builder, builder.add(numbers, builder.shl(row, I64(1))), 0, rounded)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def _round_vector(typingctx, value, inverse, codes):
    """Write the codes of 16 floats, and return their sum."""

    def codegen(context, builder, sig, args):
        value, inverse, codes = args
        whole = _emit_rounded(builder, value, inverse)
        _put(builder, codes, 0, builder.trunc(whole, CODE_BYTES))
        return builder.sext(emit_call(builder, "llvm.vector.reduce.add.v16i32", I32, [whole]), I64)

    return types.int64(vector, vector, types.int64), codegen


@intrinsic
def _write_int32(typingctx, address, value):
    def codegen(context, builder, sig, args):
        _put(builder, args[0], 0, builder.trunc(args[1], I32))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@jit
def _prepare_whole(x, n, target):
    peak, poison = splat(ZERO), splat(ZERO)
    for i in range(0, n, LANES):
        value = read(x + 4 * i, n - i)
        peak = larger(larger(value, splat(ZERO) - value), peak)
        poison = poison + value * splat(ZERO)  # NaN where a number is none or infinite
    most, sum_, padded = largest(peak), 0, (n + 63) // 64 * 64
    inverse = splat(ZERO if most == ZERO else MOST / most)
    for i in range(0, padded, LANES):
        value = read(x + 4 * i, n - i) if i < n else splat(ZERO)
        sum_ += _round_vector(value, inverse, target + i)
    poke(target + padded, most / MOST + total(poison))
    _write_int32(target + padded + 4, -sum_)


@jit
def prepared_bytes(n, way):
    """How many bytes `prepare_row` writes for a row of n floats."""
    if way == FLOATS:
        return (n + UNIT - 1) // UNIT * 4 * UNIT
    if way == UNITS:
        return (n + UNIT - 1) // UNIT * UNIT_BYTES
    if way == BLOCKED:
        return n + n // BLOCK * 12
    return (n + 63) // 64 * 64 + 64


@jit
def prepare_row(x, n, way, target):
    """Write a row of n floats at x in one of the ways; n >= 128 for UNITS, a multiple of 32 for BLOCKED."""
    if way == FLOATS:
        for i in range(0, (n + LANES - 1) // LANES * LANES, LANES):
            store(target + 4 * i, read(x + 4 * i, n - i))
    elif way == UNITS:
        for i in range(0, n, UNIT):
            skipped = max(i + UNIT - n, 0)
            _round_unit(x + 4 * (i - skipped), skipped, target + i // UNIT * UNIT_BYTES)
    elif way == BLOCKED:
        for i in range(n // BLOCK):
            _round_block(x + 4 * BLOCK * i, target + BLOCK * i, target + n + 4 * i, 4 * (n // BLOCK))
    else:
        _prepare_whole(x, n, target)
