"""Rows x of a product with packed weights, in the form in which the products read them.

Formats of integer codes multiply integers: each 32 numbers of x are rounded to the nearest of 255 multiples of
max |x| / 127, so that no number is off by more than max |x| / 254. A unit of 128 numbers becomes five vectors:

    64 bytes      signed codes, the first 16 of each 32
    64 bytes      the last 16 of each 32
    16 int32      minus the sums of the codes of a lane, eight of them; a format's offset is multiplied with these
    16 float32    the step of the codes of each lane
    16 float32    the sums of the rounded numbers of a lane; a format's minima are multiplied with these

Where a row does not divide into units, the last one is its last 128 numbers, and zeros in place of those that the unit
before has: so the weights of a row are read in whole units too, never beyond its ends. Formats of floats read x in
float32, and zeros beyond the end up to a whole vector.
"""

from __future__ import annotations

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
    pointer_to,
    read,
    store,
)
from .codes import BLOCKS, UNIT

__all__ = ["MINUS_SUMS", "STEPS", "SUMS", "UNIT_BYTES", "prepare_row", "prepared_bytes"]

UNIT_BYTES = 5 * 64
MINUS_SUMS, STEPS, SUMS = 128, 192, 256  # where the vectors of a unit lie, after the codes


def _constant(value):
    return ir.Constant(VECTOR, [float(value)] * LANES)


def _emit_codes(builder, pair):
    """32 numbers, two vectors, as (codes, two vectors of int32; their step, a vector)."""
    peak, poison = _constant(0), _constant(0)
    for part in pair:
        magnitude = emit_call(builder, "llvm.fabs.v16f32", VECTOR, [part])
        peak = builder.select(builder.fcmp_ordered(">", magnitude, peak), magnitude, peak)
        poison = builder.fadd(poison, builder.fmul(part, _constant(0)))  # NaN where a number is none or infinite
    peak = emit_across(builder, peak, lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
    poison = emit_across(builder, poison, builder.fadd)
    inverse = builder.select(builder.fcmp_ordered("==", peak, F32(0)), F32(0), builder.fdiv(F32(127), peak))
    inverse, codes = emit_splat(builder, inverse), []
    for part in pair:
        rounded = builder.fadd(builder.fmul(part, inverse), _constant(ROUND))  # whole in its low bits, as in simd.py
        bits = builder.bitcast(rounded, LANES_I32)
        codes.append(builder.sub(bits, ir.Constant(LANES_I32, [int(ROUND.view("int32"))] * LANES)))
    return codes, emit_splat(builder, builder.fadd(builder.fdiv(peak, F32(127)), poison))


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
            steps.append(step)
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


@jit
def prepared_bytes(n, integers):
    """How many bytes `prepare_row` writes for a row of n floats."""
    return (n + UNIT - 1) // UNIT * (UNIT_BYTES if integers else 4 * UNIT)


@jit
def prepare_row(x, n, integers, target):
    """Write a row of n floats at x as products with integer codes read it, which is for n >= 128, or with floats."""
    if not integers:
        for i in range(0, (n + LANES - 1) // LANES * LANES, LANES):
            store(target + 4 * i, read(x + 4 * i, n - i))
        return
    for i in range(0, n, UNIT):
        skipped = max(i + UNIT - n, 0)
        _round_unit(x + 4 * (i - skipped), skipped, target + i // UNIT * UNIT_BYTES)
