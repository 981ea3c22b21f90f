"""Sums of products of bytes: 64 unsigned ones times 64 signed ones, four products to a sum.

With AVX512-VNNI or AVX-VNNI that is one instruction for each register, with AVX2 three, and elsewhere LLVM makes of it
what the processor has. All give the same integers.
"""

from __future__ import annotations

from llvmlite import ir

from .jit import compiles_for
from .vectors import I32, LANES, LANES_I32, emit_call

__all__ = ["BYTES", "CODES", "emit_dot"]

CODES = 4 * LANES  # bytes that are multiplied at once
I8, I16 = ir.IntType(8), ir.IntType(16)
BYTES = ir.VectorType(I8, CODES)


def emit_dot(builder, sums, codes, x, *, narrow):
    """sums (16 int32) plus the products of codes (64 unsigned bytes) and x (64 signed ones), four to each.

    narrow: promises codes below 128, so that two products fit into 16 bits.
    """
    if compiles_for("avx512vnni"):
        return _by_parts(builder, sums, codes, x, LANES, _vnni("512"))
    if compiles_for("avxvnni"):
        return _by_parts(builder, sums, codes, x, 8, _vnni("256"))
    if compiles_for("avx2") and narrow:
        return _by_parts(builder, sums, codes, x, 8, _emit_avx2)
    return _emit_portable(builder, sums, codes, x)


def _by_parts(builder, sums, codes, x, lanes, emit):
    """`emit` for registers of so many sums, and the results side by side."""
    results = []
    for first in range(0, LANES, lanes):
        lane_range, byte_range = range(first, first + lanes), range(4 * first, 4 * (first + lanes))
        parts = (_taken(builder, sums, lane_range), _taken(builder, codes, byte_range), _taken(builder, x, byte_range))
        results.append(emit(builder, *parts))
    return results[0] if len(results) == 1 else _joined(builder, *results)


def _vnni(bits):
    def emit(builder, sums, codes, x):
        kind = sums.type
        words = [builder.bitcast(each, kind) for each in (codes, x)]
        return emit_call(builder, f"llvm.x86.avx512.vpdpbusd.{bits}", kind, [sums, *words])

    return emit


def _emit_avx2(builder, sums, codes, x):
    pairs = emit_call(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(I16, 16), [codes, x])
    fours = emit_call(builder, "llvm.x86.avx2.pmadd.wd", sums.type, [pairs, ir.Constant(pairs.type, [1] * 16)])
    return builder.add(sums, fours)


def _emit_portable(builder, sums, codes, x):
    """Products of 16 bits in 32, in the order in which x86 has an instruction for pairs of them."""
    words = ir.VectorType(I16, CODES)
    codes, x = builder.zext(codes, words), builder.sext(x, words)
    pairs = None
    for start in range(2):
        taken = range(start, CODES, 2)
        wide = [builder.sext(_taken(builder, each, taken), ir.VectorType(I32, CODES // 2)) for each in (codes, x)]
        products = builder.mul(*wide)
        pairs = products if pairs is None else builder.add(pairs, products)
    for start in range(2):
        sums = builder.add(sums, _taken(builder, pairs, range(start, CODES // 2, 2)))
    return sums


def _taken(builder, vector, lanes):
    """The lanes of a vector that `lanes` counts; the vector itself where these are all."""
    if len(lanes) == vector.type.count:
        return vector
    order = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), order)


def _joined(builder, first, second):
    """16 sums from 8 and 8."""
    return builder.shuffle_vector(first, second, ir.Constant(LANES_I32, list(range(LANES))))
