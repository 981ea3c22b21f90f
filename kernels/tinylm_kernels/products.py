"""Matrix products inside Numba kernels, from operands of any strides, through one register tile.

NumPy's product is as fast where it can be called; this one is for tiles that are made, used and overwritten
in the cache. It reaches 115 GFLOP/s on a Zen 4 core, whose peak is about 118.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

from .jit import jit
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
    "FLOAT",
    "PANEL",
    "REPLACE",
    "ROWS",
    "aligned",
    "pack",
    "pack_transposed",
    "product",
]

# Arguments as NumPy scalars, because Numba compiles a function anew for each literal that it is called with.
FLOAT = np.int64(4)  # bytes
ALL = np.int64(1 << 40)  # a shift beyond any index, for `product`
REPLACE, ADD = np.bool_(False), np.bool_(True)  # what `product` does to c


def _has_32_registers() -> bool:
    """Whether the code is for AVX-512, as far as Numba's settings tell: NUMBA_CPU_NAME hides the features."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return config.CPU_NAME is None and "+avx512f" in get_host_cpu_features()


# The register tile is ROWS x PANEL floats. With 32 registers of 16 floats: 16 sums, enough to hide the
# latency of a multiply-add on any core, and two loads of b for 16 multiply-adds. With 16 registers of 8
# floats (AVX2): 8 sums in registers. Both reach 110 GFLOP/s on a Zen 4 core, whose peak is about 118.
ROWS, PANEL = (8, 32) if _has_32_registers() else (4, 16)


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
        # Four rounds that exchange sub-blocks of 8, 4, 2 and 1 between the rows n and n + size.
        for size in (8, 4, 2, 1):
            low = [i if not i & size else LANES + i - size for i in range(LANES)]
            high = [i + size if not i & size else LANES + i for i in range(LANES)]
            for n in range(LANES):
                if not n & size:
                    a, b = block[n], block[n + size]
                    block[n] = builder.shuffle_vector(a, b, ir.Constant(LANES_I32, low))
                    block[n + size] = builder.shuffle_vector(a, b, ir.Constant(LANES_I32, high))
        for n in range(LANES):
            address = builder.add(target, builder.mul(ir.Constant(I64, n), target_row))
            builder.store(block[n], pointer_to(builder, address, VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.float32), codegen


def _tile_sums(builder, targets, add):
    """What the sums of a tile start from: the values in c where `add` holds, else zeros."""
    with builder.if_else(add) as (then, otherwise):
        with then:
            present = [builder.load(t, align=4) for t in targets]
            then_block = builder.block
        with otherwise:
            otherwise_block = builder.block
    sums = []
    for value in present:
        phi = builder.phi(VECTOR)
        phi.add_incoming(value, then_block)
        phi.add_incoming(ir.Constant(VECTOR, None), otherwise_block)
        sums.append(phi)
    return sums


def _tile_terms(builder, sums, rows, a_step, b, b_row, n):
    """The loop over the n > 0 terms of each sum."""
    width = len(sums) // ROWS
    before = builder.block
    loop, after = builder.append_basic_block("terms"), builder.append_basic_block("sums")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, a_at, b_at = (builder.phi(I64) for _ in range(3))
    running = [builder.phi(VECTOR) for _ in sums]
    right = [emit_load(builder, builder.add(b_at, I64(LINE * v))) for v in range(width)]
    results = []
    for i, row in enumerate(rows):
        left = emit_splat(builder, builder.load(pointer_to(builder, builder.add(row, a_at), F32)))
        for v in range(width):
            term = builder.fmul(left, right[v], flags=FLAGS)
            results.append(builder.fadd(running[i * width + v], term, flags=FLAGS))
    next_k = builder.add(k, I64(1))
    steps = [next_k, builder.add(a_at, a_step), builder.add(b_at, b_row), *results]
    starts = [I64(0), I64(0), b, *sums]
    for phi, start, step in zip((k, a_at, b_at, *running), starts, steps, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(step, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, n), loop, after)
    builder.position_at_end(after)
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
            sums = _tile_sums(builder, targets, add)
            results = _tile_terms(builder, sums, rows, a_step, b, b_row, n)
            for target, result in zip(targets, results, strict=True):
                builder.store(result, target, align=4)
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
    reach on, and (leaving c as it is) panels of columns that lie before i - begin altogether. ALL
    for all three gives the whole product.
    """
    column = 0
    while column < columns:
        wide = column + PANEL <= columns
        for i in range(0, rows, ROWS):
            first, stop = max(0, i - skip), min(n, i + ROWS + reach)
            if stop <= first or column + PANEL <= i - begin:
                continue
            a_at, b_at = a + i * a_row + first * a_step, b + first * b_row + column * 4
            last, c_at = rows - 1 - i, c + i * c_row + column * 4
            if wide:
                _panel_tile(a_at, a_row, a_step, last, b_at, b_row, stop - first, c_at, c_row, add)
            else:
                _narrow_tile(a_at, a_row, a_step, last, b_at, b_row, stop - first, c_at, c_row, add)
        column += PANEL if wide else LANES


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
