"""Matrix products inside Numba kernels, from operands of any strides, through one register tile.

NumPy's product is as fast where it can be called; this one is for tiles that are made, used and overwritten
in the cache. It reaches 115 GFLOP/s on a Zen 4 core, whose peak is about 118.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import compiles_for, jit
from .vectors import (
    F32,
    FLAGS,
    I64,
    LANES,
    LANES_I32,
    LINE,
    VECTOR,
    emit_load,
    emit_load_some,
    emit_splat,
    load_some,
    pointer_to,
    store,
)

__all__ = [
    "ADD",
    "ALL",
    "CHAIN",
    "FLOAT",
    "PANEL",
    "REPLACE",
    "ROWS",
    "SPLIT",
    "aligned",
    "pack",
    "pack_transposed",
    "product",
]

# Arguments as NumPy scalars, because Numba compiles a function anew for each literal that it is called with.
FLOAT = np.int64(4)  # bytes
ALL = np.int64(1 << 40)  # a shift beyond any index, for `product`
REPLACE, ADD = np.bool_(False), np.bool_(True)  # what `product` does to c


# The register tile is ROWS x PANEL floats, each the sum of SPLIT partial ones that take the terms in turn: two of
# half the length have a smaller rounding error, and more sums hide the latency of a multiply-add. 16 vectors of
# sums fill half of the 32 registers of AVX-512; with the 16 registers of 8 floats of AVX2 there are 8, in 4 vectors.
# Both reach 110 GFLOP/s on a Zen 4 core, whose peak is about 118.
ROWS, PANEL, SPLIT = (4, 32, 2) if compiles_for("avx512f") else (4, 16, 1)
# So many terms are summed at a time, and then added to what there is: the part of b that they need stays in the cache.
CHAIN = np.int64(128)


def emit_transpose(builder, block):
    """The transpose of a block of 16 vectors, in four rounds that exchange its parts of 8, 4, 2 and 1 numbers."""
    block = list(block)
    for size in (8, 4, 2, 1):  # of the rows n and n + size
        low = [i if not i & size else LANES + i - size for i in range(LANES)]
        high = [i + size if not i & size else LANES + i for i in range(LANES)]
        for n in range(LANES):
            if not n & size:
                a, b = block[n], block[n + size]
                block[n] = builder.shuffle_vector(a, b, ir.Constant(LANES_I32, low))
                block[n + size] = builder.shuffle_vector(a, b, ir.Constant(LANES_I32, high))
    return block


@intrinsic
def transpose(typingctx, source, source_row, rows, columns, target, target_row, scale):
    """Write scale times the transpose of a block of 16 x 16 floats, of which rows x columns exist.

    Missing rows repeat the last one, missing columns become 0. Row strides are in bytes.
    """

    def codegen(context, builder, sig, args):
        source, source_row, rows, columns, target, target_row, scale = args
        scale = emit_splat(builder, scale)
        last = builder.sub(rows, ir.Constant(I64, 1))
        block = []
        for n in range(LANES):
            row = ir.Constant(I64, n)
            row = builder.select(builder.icmp_signed("<", row, last), row, last)
            address = builder.add(source, builder.mul(row, source_row))
            block.append(builder.fmul(emit_load_some(builder, address, columns), scale))
        block = emit_transpose(builder, block)
        for n in range(LANES):
            address = builder.add(target, builder.mul(ir.Constant(I64, n), target_row))
            builder.store(block[n], pointer_to(builder, address, VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.float32), codegen


def _add_terms(builder, sums, rows, a_at, b_at):
    """Each sum plus its next term: the floats at `a_at` behind each row of a, times the vectors at `b_at`."""
    width = len(sums) // len(rows)
    right = [emit_load(builder, builder.add(b_at, I64(LINE * v))) for v in range(width)]
    results = []
    for i, row in enumerate(rows):
        left = emit_splat(builder, builder.load(pointer_to(builder, builder.add(row, a_at), F32)))
        for v in range(width):
            term = builder.fmul(left, right[v], flags=FLAGS)
            results.append(builder.fadd(sums[i * width + v], term, flags=FLAGS))
    return results


def _merge(builder, values, block, alternatives, other_block):
    """`values` after coming from `block`, `alternatives` after `other_block`."""
    merged = []
    for value, alternative in zip(values, alternatives, strict=True):
        phi = builder.phi(value.type)
        phi.add_incoming(value, block)
        phi.add_incoming(alternative, other_block)
        merged.append(phi)
    return merged


def _pairs_of_terms(builder, sums, rows, a_step, b, b_row, n):
    """The loop over pairs of terms, n > 1: where a and b go on, and the sums, all the first parts before the second."""
    before, size = builder.block, len(sums) // SPLIT
    loop, after = builder.append_basic_block("pairs"), builder.append_basic_block("summed")
    builder.branch(loop)
    builder.position_at_end(loop)
    starts = [I64(2), I64(0), b, *sums]
    phis = [builder.phi(start.type) for start in starts]
    k, a_at, b_at, *running = phis
    for term in range(2):
        part = slice(term % SPLIT * size, (term % SPLIT + 1) * size)
        running[part] = _add_terms(builder, running[part], rows, a_at, b_at)
        a_at, b_at = builder.add(a_at, a_step), builder.add(b_at, b_row)
    results = [builder.add(k, I64(2)), a_at, b_at, *running]
    for phi, start, result in zip(phis, starts, results, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(result, loop)
    builder.cbranch(builder.icmp_signed("<=", results[0], n), loop, after)
    builder.position_at_end(after)
    return results[1:]


def _tile_sums(builder, width, rows, a_step, b, b_row, n):
    """The sums of a register tile over n > 0 terms."""
    size, before = len(rows) * width, builder.block
    sums = [ir.Constant(VECTOR, None)] * (SPLIT * size)
    with builder.if_then(builder.icmp_signed(">", n, I64(1))):
        summed, within = _pairs_of_terms(builder, sums, rows, a_step, b, b_row, n), builder.block
    a_at, b_at, *sums = _merge(builder, [I64(0), b, *sums], before, summed, within)
    results, before = sums[:size], builder.block
    with builder.if_then(builder.trunc(n, ir.IntType(1))):  # the last of an odd number of terms
        longer, within = _add_terms(builder, results, rows, a_at, b_at), builder.block
    results = _merge(builder, results, before, longer, within)
    for part in range(size, SPLIT * size, size):
        results = [builder.fadd(r, s, flags=FLAGS) for r, s in zip(results, sums[part : part + size], strict=True)]
    return results


def _tile(width):
    """The register tile: c (ROWS x 16 width) = [c +] a (ROWS x n) b (n x 16 width), n > 0."""

    def typed(typingctx, a, a_row, a_step, last_row, b, b_row, n, c, c_row, add):
        def codegen(context, builder, sig, args):
            a, a_row, a_step, last_row, b, b_row, n, c, c_row, add = args
            rows, targets = [], []
            for i in range(ROWS):
                row = builder.select(builder.icmp_signed("<", I64(i), last_row), I64(i), last_row)
                rows.append(builder.add(a, builder.mul(row, a_row)))
                target = builder.add(c, builder.mul(I64(i), c_row))
                for v in range(width):
                    targets.append(pointer_to(builder, builder.add(target, I64(LINE * v)), VECTOR))
            sums = _tile_sums(builder, width, rows, a_step, b, b_row, n)
            with builder.if_else(add) as (then, otherwise):
                with then:
                    for target, value in zip(targets, sums, strict=True):
                        present = builder.load(target, align=4)
                        builder.store(builder.fadd(present, value, flags=FLAGS), target, align=4)
                with otherwise:
                    for target, value in zip(targets, sums, strict=True):
                        builder.store(value, target, align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9, types.boolean), codegen

    return typed


_panel_tile, _narrow_tile = intrinsic(_tile(PANEL // LANES)), intrinsic(_tile(1))


@jit
def product(a, a_row, a_step, rows, b, b_row, columns, n, c, c_row, add, skip, reach, begin):
    """c (rows x columns) = [c +] a (rows x n) b (n x columns), by register tiles of ROWS rows.

    Element (i, k) of a lies at a + i a_row + k a_step, row k of b at b + k b_row, row i of c at c + i
    c_row, all in bytes. columns is a multiple of 16, and c has room for rows up to the next multiple of
    ROWS. Triangles: the tile of rows from i leaves out the terms before i - skip, those from i + ROWS +
    reach on, and (leaving c as it is) blocks of 16 columns that lie before i - begin altogether. ALL
    for all three gives the whole product.
    """
    for column in range(0, columns, PANEL):
        end = min(column + PANEL, columns)
        for k in range(0, n, CHAIN):
            for i in range(0, rows, ROWS):
                left = max(column, (i - begin) & -LANES)
                first, stop = max(k, i - skip), min(n, k + CHAIN, i + ROWS + reach)
                if left >= end or first >= stop:
                    continue
                a_at, b_at, c_at = (
                    a + i * a_row + first * a_step,
                    b + first * b_row + left * 4,
                    c + i * c_row + left * 4,
                )
                last, terms, add_now = rows - 1 - i, stop - first, add or k > max(0, i - skip)
                if end - left == PANEL:
                    _panel_tile(a_at, a_row, a_step, last, b_at, b_row, terms, c_at, c_row, add_now)
                else:
                    _narrow_tile(a_at, a_row, a_step, last, b_at, b_row, terms, c_at, c_row, add_now)


@jit
def pack(source, source_row, rows, columns, target, target_row):
    """Copy rows of floats to rows padded with zeros to a multiple of 16."""
    for r in range(rows):
        for c in range(0, columns, LANES):
            store(target + r * target_row + c * 4, load_some(source + r * source_row + c * 4, columns - c))


@jit
def pack_transposed(source, source_row, rows, columns, target, target_row, scale):
    """Write scale times the transpose, both sides rounded up to 16; the padding repeats the last row."""
    for r in range(0, rows, LANES):
        for c in range(0, columns, LANES):
            transpose(
                source + r * source_row + c * 4, source_row, rows - r, columns - c,
                target + c * target_row + r * 4, target_row, scale,
            )  # fmt: skip


@jit
def aligned(buffer):
    """The address of the first whole cache line in a buffer, which must have LINE bytes to spare.

    It is only an address: the buffer must be kept alive, best by the caller of the function that works in it.
    """
    return (np.int64(buffer.ctypes.data) + LINE - 1) // LINE * LINE
