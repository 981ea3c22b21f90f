"""Dot products of one row of weights, packed in any format, with one or four prepared rows x (`activations`).

The weights are read once, as they lie. Which format it is, is a number of `KINDS`, by which compiled code branches
once a row, so that one compiled kernel serves models whose matrices have several formats.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..integer_dot import BYTES, CODES, I16, emit_dot
from ..vectors import (
    FLAGS,
    I32,
    I64,
    LANES,
    LANES_I32,
    VECTOR,
    emit_call,
    emit_first_lanes,
    emit_load,
    pointer_to,
    vector,
)
from .activations import MINUS_SUMS, STEPS, SUMS, UNIT_BYTES
from .bfloat16 import BF16
from .codes import INTEGER_FORMATS, UNIT, emit_halves
from .float16 import F16

__all__ = ["FIRST_INTEGER", "KINDS", "ROWS", "dot_1", "dot_4", "emit_loop", "emit_multiply_add"]

ROWS = 4  # rows x that share a row of weights
HALVES = ir.VectorType(I16, LANES)
# Sums that a product of floats goes through in turn, so that no multiply-add waits for the one before.
TURNS = 4


def emit_multiply_add(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=FLAGS), c, flags=FLAGS)


def emit_loop(builder, count, starts, body):
    """The values after `count` turns (int64, perhaps 0) of body(turn, values), which returns the next values."""
    before = builder.block
    loop, after = builder.append_basic_block("turn"), builder.append_basic_block("turned")
    zero = I64(0)
    builder.cbranch(builder.icmp_signed(">", count, zero), loop, after)
    builder.position_at_end(loop)
    phis = [builder.phi(start.type) for start in (zero, *starts)]
    results = [builder.add(phis[0], I64(1)), *body(phis[0], phis[1:])]
    for phi, start, result in zip(phis, (zero, *starts), results, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, builder.block)
    end = builder.block
    builder.cbranch(builder.icmp_signed("<", results[0], count), loop, after)
    builder.position_at_end(after)
    values = []
    for start, result in zip(starts, results[1:], strict=True):
        value = builder.phi(start.type)
        value.add_incoming(start, before)
        value.add_incoming(result, end)
        values.append(value)
    return values


def _load(builder, address, offset, kind):
    return builder.load(pointer_to(builder, builder.add(address, I64(offset)), kind), align=4)


def _add_unit(builder, fmt, unit, x, sums):
    """The sums plus the products of one unit of weights with one of x."""
    steps, zero = _load(builder, x, STEPS, VECTOR), ir.Constant(LANES_I32, None)
    halves = [_load(builder, x, at, BYTES) for at in (0, CODES)]
    narrow = fmt.bits < 8
    if isinstance(unit.scales, tuple):  # sums of four: what the offset takes from these, no unit of x has
        offset = ir.Constant(BYTES, [1 << fmt.shift] * CODES)
        for codes, scales, half in zip(unit.codes, unit.scales, halves, strict=True):
            start = builder.sub(zero, emit_dot(builder, zero, offset, half, narrow=True))
            products = emit_dot(builder, start, codes, half, narrow=narrow)
            scales = builder.fmul(scales, steps, flags=FLAGS)
            sums = emit_multiply_add(builder, builder.sitofp(products, VECTOR), scales, sums)
        return sums
    products = zero
    if fmt.shift:
        shift = ir.Constant(LANES_I32, [fmt.shift] * LANES)
        products = builder.shl(_load(builder, x, MINUS_SUMS, LANES_I32), shift)
    for codes, half in zip(unit.codes, halves, strict=True):
        products = emit_dot(builder, products, codes, half, narrow=narrow)
    scales = builder.fmul(unit.scales, steps, flags=FLAGS)
    sums = emit_multiply_add(builder, builder.sitofp(products, VECTOR), scales, sums)
    return (
        sums if unit.minima is None else emit_multiply_add(builder, unit.minima, _load(builder, x, SUMS, VECTOR), sums)
    )


def _emit_integers(fmt, builder, w, x_rows, n):
    """The sums, 16 lanes for each of the rows x, over n >= 128 numbers of an integer format."""
    values = UNIT * fmt.units
    # The last turn ends with the row, and may begin before the end of the one before, where its x are zeros.
    last = builder.mul(builder.sdiv(n, I64(fmt.packed.block_values)), I64(fmt.packed.block_bytes))
    last = builder.sub(last, I64(fmt.bytes))

    def body(turn, sums):
        offset = builder.mul(turn, I64(fmt.bytes))
        offset = builder.select(builder.icmp_signed("<", offset, last), offset, last)
        first = builder.mul(turn, I64(fmt.units * UNIT_BYTES))
        for number, unit in enumerate(fmt.read(builder, builder.add(w, offset))):
            at = builder.add(first, I64(number * UNIT_BYTES))
            sums = [_add_unit(builder, fmt, unit, builder.add(x, at), s) for x, s in zip(x_rows, sums, strict=True)]
        return sums

    turns = builder.sdiv(builder.add(n, I64(values - 1)), I64(values))
    return emit_loop(builder, turns, [ir.Constant(VECTOR, None)] * len(x_rows), body)


def _bfloat16_to_floats(builder, bits):
    words = builder.shl(builder.zext(bits, LANES_I32), ir.Constant(LANES_I32, [16] * LANES))
    return builder.bitcast(words, VECTOR)


def _emit_floats(convert, stored, builder, w, x_rows, n):
    """The same for a format of floats: vectors `stored`, which `convert` makes float32."""
    size = LANES * (4 if stored is VECTOR else 2)

    def add(first, sums, weights):
        return [
            emit_multiply_add(builder, convert(builder, weights), emit_load(builder, builder.add(x, first)), s)
            for x, s in zip(x_rows, sums, strict=True)
        ]

    def body(turn, sums):
        groups = [list(sums[i::TURNS]) for i in range(TURNS)]
        for number in range(TURNS):
            at = builder.add(builder.mul(turn, I64(TURNS)), I64(number))
            weights = builder.load(pointer_to(builder, builder.add(w, builder.mul(at, I64(size))), stored), align=1)
            groups[number] = add(builder.mul(at, I64(4 * LANES)), groups[number], weights)
        return [groups[i % TURNS][i // TURNS] for i in range(TURNS * len(x_rows))]

    whole = builder.sdiv(n, I64(TURNS * LANES))
    sums = emit_loop(builder, whole, [ir.Constant(VECTOR, None)] * (TURNS * len(x_rows)), body)

    def rest(turn, sums):
        at = builder.add(builder.mul(whole, I64(TURNS)), turn)
        left = builder.sub(n, builder.mul(at, I64(LANES)))
        pointer = pointer_to(builder, builder.add(w, builder.mul(at, I64(size))), stored)
        name = f"llvm.masked.load.v{LANES}{'f32' if stored is VECTOR else 'i16'}.p0"
        arguments = [pointer, I32(1), emit_first_lanes(builder, left), ir.Constant(stored, None)]
        return add(builder.mul(at, I64(4 * LANES)), sums, emit_call(builder, name, stored, arguments))

    totals = []
    for row in range(len(x_rows)):
        a, b, c, d = sums[TURNS * row : TURNS * (row + 1)]
        totals.append(builder.fadd(builder.fadd(a, b), builder.fadd(c, d)))
    vectors = builder.sdiv(builder.add(n, I64(LANES - 1)), I64(LANES))
    return emit_loop(builder, builder.sub(vectors, builder.mul(whole, I64(TURNS))), totals, rest)


_FLOATS = {
    "float32": partial(_emit_floats, lambda builder, weights: weights, VECTOR),
    F16.format: partial(_emit_floats, emit_halves, HALVES),
    BF16.format: partial(_emit_floats, _bfloat16_to_floats, HALVES),
}
_EMITTERS = {**_FLOATS, **{fmt.packed.format: partial(_emit_integers, fmt) for fmt in INTEGER_FORMATS}}
# The formats by number; those from FIRST_INTEGER on take x in rounded units.
KINDS = {name: number for number, name in enumerate(_EMITTERS)}
FIRST_INTEGER = len(_FLOATS)


def _dots(rows):
    def typed(typingctx, kind, w, x, x_row, n):
        def codegen(context, builder, sig, args):
            kind, w, x, x_row, n = args
            x_rows = [builder.add(x, builder.mul(x_row, I64(row))) for row in range(rows)]
            after, unknown = builder.append_basic_block("done"), builder.append_basic_block("unknown")
            choice = builder.switch(kind, unknown)
            found = []
            for number, emit in enumerate(_EMITTERS.values()):
                start = builder.append_basic_block(f"format_{number}")
                choice.add_case(I64(number), start)
                builder.position_at_end(start)
                found.append((emit(builder, w, x_rows, n), builder.block))
                builder.branch(after)
            builder.position_at_end(unknown)
            found.append(([ir.Constant(VECTOR, None)] * rows, unknown))
            builder.branch(after)
            builder.position_at_end(after)
            results = [builder.phi(VECTOR) for _ in range(rows)]
            for values, block in found:
                for phi, value in zip(results, values, strict=True):
                    phi.add_incoming(value, block)
            return results[0] if rows == 1 else context.make_tuple(builder, sig.return_type, results)

        result = vector if rows == 1 else types.UniTuple(vector, rows)
        return result(*[types.int64] * 5), codegen

    return typed


dot_1 = intrinsic(_dots(1))  # (kind, w, x, x_row, n): the products with one row x, 16 partial sums
dot_4 = intrinsic(_dots(ROWS))  # those with four, x_row bytes apart
