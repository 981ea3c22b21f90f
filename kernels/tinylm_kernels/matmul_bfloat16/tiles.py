"""The instructions of AVX512-BF16, and the two pieces of a matrix product that are made of them: packing and the tile.

`vdpbf16ps` adds to each of 16 floats the products of two pairs of bfloat16. Its operands are packed in that order: a
panel holds, for one pair of terms after the other, the pair of each of its rows (or columns), 4 bytes each.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..products import emit_transpose
from ..vectors import (
    I32,
    I64,
    LANES,
    LANES_I32,
    LINE,
    VECTOR,
    emit_call,
    emit_load,
    emit_load_some,
    emit_splat,
    pointer_to,
)

__all__ = ["COLUMNS", "ROWS", "STEP", "pack_across", "pack_along", "tile"]

# The register tile: 14 rows of 2 vectors of sums, and of the 32 registers 2 are left for b and some for a.
ROWS, COLUMNS = 14, 32
# So many pairs of terms in a turn of the loop; panels are filled up with zeros to a multiple of it.
STEP = 2

WORDS = ir.VectorType(ir.IntType(16), 2 * LANES)
ORDER = ir.VectorType(I32, 2 * LANES)


def _emit_round(builder, first, second):
    """32 bfloat16 from two vectors of floats, rounded to the nearest, ties to even; subnormal numbers become 0."""
    # The low half comes from the second operand.
    return emit_call(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", WORDS, [second, first])


def _emit_dot(builder, sums, a, b):
    """Each sum plus the products of two pairs. a, b: vectors of 16 pairs, as int32."""
    return emit_call(builder, "llvm.x86.avx512bf16.dpbf16ps.512", VECTOR, [sums, a, b])


@intrinsic
def pack_across(typingctx, source, source_row, rows, columns, target):
    """Write the 16 pairs of two rows of floats: those of a column beside each other, rounded.

    Of the rows 0 to 2 exist and of the columns 0 to 16; what does not becomes 0. The row stride is in bytes.
    """

    def codegen(context, builder, sig, args):
        source, source_row, rows, columns, target = args
        both = []
        for row in range(2):
            exists = builder.icmp_signed("<", I64(row), rows)
            address = builder.add(source, builder.mul(I64(row), source_row))
            both.append(emit_load_some(builder, address, builder.select(exists, columns, I64(0))))
        words = _emit_round(builder, *both)
        order = ir.Constant(ORDER, [word // 2 + LANES * (word % 2) for word in range(2 * LANES)])
        pairs = builder.shuffle_vector(words, words, order)
        builder.store(pairs, pointer_to(builder, target, WORDS), align=64)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen


@intrinsic
def pack_along(typingctx, source, source_row, rows, columns, target, target_row):
    """Write 16 pairs of each of 16 rows of floats, rounded: the pairs of all rows with the same columns together.

    Missing columns become 0, missing rows repeat the last one. Row strides are in bytes.
    """

    def codegen(context, builder, sig, args):
        source, source_row, rows, columns, target, target_row = args
        last, rest = builder.sub(rows, I64(1)), builder.sub(columns, I64(LANES))
        block = []
        for n in range(LANES):
            row = builder.select(builder.icmp_signed("<", I64(n), last), I64(n), last)
            address = builder.add(source, builder.mul(row, source_row))
            first = emit_load_some(builder, address, columns)
            second = emit_load_some(builder, builder.add(address, I64(LINE)), rest)
            block.append(builder.bitcast(_emit_round(builder, first, second), VECTOR))
        for n, pairs in enumerate(emit_transpose(builder, block)):
            address = builder.add(target, builder.mul(I64(n), target_row))
            builder.store(pairs, pointer_to(builder, address, VECTOR), align=64)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen


def _emit_terms(builder, sums, a, b):
    """The sums of the tile plus one pair of terms; a, b: where the pairs of the rows and of the columns lie."""
    width = COLUMNS // LANES
    right = [builder.bitcast(emit_load(builder, builder.add(b, I64(LINE * v))), LANES_I32) for v in range(width)]
    results = []
    for i in range(ROWS):
        pair = builder.load(pointer_to(builder, builder.add(a, I64(4 * i)), I32))
        left = emit_splat(builder, pair)
        results += [_emit_dot(builder, sums[i * width + v], left, right[v]) for v in range(width)]
    return results


def _emit_prefetch(builder, address):
    """Have the cache line at an address ready to be written. Any address will do."""
    pointer = pointer_to(builder, address, ir.IntType(8))
    emit_call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, I32(1), I32(3), I32(1)])  # write, keep, data


@intrinsic
def tile(typingctx, a, b, pairs, sums, c, c_row):
    """Write the sums (ROWS x COLUMNS) over so many pairs, a multiple of STEP above 0, of a panel of a and one of b.

    Meanwhile the memory of c, where they will go to, comes into the cache.
    """

    def codegen(context, builder, sig, args):
        a, b, pairs, target, c, c_row = args
        for i in range(ROWS):
            row = builder.add(c, builder.mul(I64(i), c_row))
            for line in range(COLUMNS // LANES):
                _emit_prefetch(builder, builder.add(row, I64(LINE * line)))
        before = builder.block
        loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("summed")
        builder.branch(loop)
        builder.position_at_end(loop)
        starts = [I64(0), a, b, *[ir.Constant(VECTOR, None)] * (ROWS * COLUMNS // LANES)]
        phis = [builder.phi(start.type) for start in starts]
        k, a_at, b_at, *results = phis
        for _ in range(STEP):
            results = _emit_terms(builder, results, a_at, b_at)
            a_at, b_at = builder.add(a_at, I64(LINE)), builder.add(b_at, I64(4 * COLUMNS))
        results = [builder.add(k, I64(STEP)), a_at, b_at, *results]
        for phi, start, result in zip(phis, starts, results, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(result, loop)
        builder.cbranch(builder.icmp_signed("<", results[0], pairs), loop, after)
        builder.position_at_end(after)
        for n, value in enumerate(results[3:]):
            builder.store(value, pointer_to(builder, builder.add(target, I64(LINE * n)), VECTOR), align=64)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), codegen
