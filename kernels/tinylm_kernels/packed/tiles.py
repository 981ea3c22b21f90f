"""Products of rows x with groups of sixteen rows of weights that lie interleaved: register tiles of integer products.

Four numbers of a row x, in all lanes, times those of sixteen rows of weights are one instruction where the processor
has one for dot products; a block ends with one conversion and one multiply-add for each vector of results. Every
result is summed up in the same order whatever tile it is computed in.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..integer_dot import BYTES, CODES, I16, emit_dot
from ..vectors import FLAGS, I32, I64, LANES, LANES_I32, LINE, VECTOR, emit_splat, pointer_to, vector
from .codes import emit_halves
from .dots import KINDS, emit_loop, emit_multiply_add
from .interleaved import LAYOUTS

__all__ = ["FIRST_INTERLEAVED", "FIRST_WHOLE", "TILE_GROUPS", "TILE_ROWS", "tile_1", "tile_4", "tile_8"]

TILE_ROWS, TILE_GROUPS = 4, 2
BLOCK = 32
HALVES = ir.VectorType(I16, LANES)
FIRST_INTERLEAVED = len(KINDS)
_LAYOUTS = tuple(LAYOUTS.values())
FIRST_WHOLE = FIRST_INTERLEAVED + sum(not layout.whole for layout in _LAYOUTS)  # they stand last
KINDS |= {layout.name: FIRST_INTERLEAVED + number for number, layout in enumerate(_LAYOUTS)}


def _load(builder, address, offset, kind, align=4):
    return builder.load(pointer_to(builder, builder.add(address, I64(int(offset))), kind), align=align)


def _four(builder, x, offset):
    """Four codes of x in all lanes."""
    return builder.bitcast(emit_splat(builder, _load(builder, x, offset, I32)), BYTES)


def _codes(builder, layout, w):
    """The vectors of codes of a block, each with the place of its first numbers in the block."""
    if layout.bits == 8:
        return [(_load(builder, w, LINE * i, BYTES), 4 * i) for i in range(BLOCK // 4)]
    found, quads, mask = [], ir.VectorType(I64, CODES // 8), ir.Constant(BYTES, [15] * CODES)
    for i in range(BLOCK // 8):
        both = _load(builder, w, LINE * i, BYTES)
        high = builder.lshr(builder.bitcast(both, quads), ir.Constant(quads, [4] * quads.count))
        found.append((builder.and_(both, mask), 4 * i))
        found.append((builder.and_(builder.bitcast(high, BYTES), mask), BLOCK // 2 + 4 * i))
    return found


def _emit_blocks(layout, builder, groups, x_rows, n):
    """The results, of each row x those of each group, for a format with a scale for each block."""
    blocks, narrow = builder.sdiv(n, I64(BLOCK)), layout.bits < 8
    code_bytes = LANES * BLOCK * layout.bits // 8
    float_bytes = 2 * LANES * (1 + layout.minima)
    steps_at, numbers = n, builder.mul(blocks, I64(4))
    minus_at = builder.add(steps_at, numbers)
    sums_at = builder.add(minus_at, numbers)

    def number(row, start, block, kind):
        at = builder.add(builder.add(row, start), builder.mul(block, I64(4)))
        return emit_splat(builder, _load(builder, at, 0, kind))

    def body(block, sums):
        shift = ir.Constant(LANES_I32, [layout.shift] * LANES)
        starts = [ir.Constant(LANES_I32, None)] * len(x_rows)
        if layout.shift:
            starts = [builder.shl(number(row, minus_at, block, I32), shift) for row in x_rows]
        products = [[start] * len(groups) for start in starts]
        x_at = [builder.add(row, builder.mul(block, I64(BLOCK))) for row in x_rows]
        places = [builder.add(group, builder.mul(block, I64(float_bytes + code_bytes))) for group in groups]
        of_groups = [_codes(builder, layout, builder.add(place, I64(float_bytes))) for place in places]
        for together in zip(*of_groups, strict=True):
            for r, row in enumerate(x_at):
                four = _four(builder, row, together[0][1])
                for g, (codes, _) in enumerate(together):
                    products[r][g] = emit_dot(builder, products[r][g], codes, four, narrow=narrow)
        scales, *minima = (
            [emit_halves(builder, _load(builder, place, at, HALVES)) for place in places]
            for at in range(0, float_bytes, 2 * LANES)
        )
        results = []
        for r, row in enumerate(x_rows):
            step = number(row, steps_at, block, VECTOR.element)
            for g, scale in enumerate(scales):
                value = builder.sitofp(products[r][g], VECTOR)
                value = emit_multiply_add(builder, value, builder.fmul(scale, step, flags=FLAGS), sums[len(results)])
                if minima:
                    value = emit_multiply_add(builder, minima[0][g], number(row, sums_at, block, VECTOR.element), value)
                results.append(value)
        return results

    return emit_loop(builder, blocks, [ir.Constant(VECTOR, None)] * (len(x_rows) * len(groups)), body)


def _emit_whole_rows(layout, builder, groups, x_rows, n):
    """The same for a format with a scale for each row."""
    fours = builder.sdiv(builder.add(n, I64(3)), I64(4))
    scales_at = builder.mul(fours, I64(LINE))
    padded = builder.and_(builder.add(n, I64(63)), I64(-64))

    def body(turn, sums):
        x_at, w_at = builder.mul(turn, I64(4)), builder.mul(turn, I64(LINE))
        codes = [_load(builder, builder.add(group, w_at), 0, BYTES) for group in groups]
        results = []
        for row in x_rows:
            four = _four(builder, builder.add(row, x_at), 0)
            for each in codes:
                results.append(emit_dot(builder, sums[len(results)], each, four, narrow=False))
        return results

    sums = emit_loop(builder, fours, [ir.Constant(LANES_I32, None)] * (len(x_rows) * len(groups)), body)
    scales = [_load(builder, builder.add(group, scales_at), 0, VECTOR) for group in groups]
    results = []
    for row in x_rows:
        at = builder.add(row, padded)
        step = emit_splat(builder, _load(builder, at, 0, VECTOR.element))
        minus = builder.shl(
            emit_splat(builder, _load(builder, at, 4, I32)), ir.Constant(LANES_I32, [layout.shift] * LANES)
        )
        for scale in scales:
            value = builder.sitofp(builder.add(sums[len(results)], minus), VECTOR)
            results.append(builder.fmul(value, builder.fmul(scale, step, flags=FLAGS), flags=FLAGS))
    return results


def _tiles(rows, count):
    def typed(typingctx, kind, w, w_row, x, x_row, n):
        def codegen(context, builder, sig, args):
            kind, w, w_row, x, x_row, n = args
            x_rows = [builder.add(x, builder.mul(x_row, I64(row))) for row in range(rows)]
            groups = [builder.add(w, builder.mul(w_row, I64(group))) for group in range(count)]
            after, unknown = builder.append_basic_block("done"), builder.append_basic_block("unknown")
            choice = builder.switch(kind, unknown)
            found = []
            for number, layout in enumerate(_LAYOUTS):
                start = builder.append_basic_block(f"format_{number}")
                choice.add_case(I64(FIRST_INTERLEAVED + number), start)
                builder.position_at_end(start)
                emit = _emit_whole_rows if layout.whole else _emit_blocks
                found.append((emit(layout, builder, groups, x_rows, n), builder.block))
                builder.branch(after)
            builder.position_at_end(unknown)
            found.append(([ir.Constant(VECTOR, None)] * (rows * count), unknown))
            builder.branch(after)
            builder.position_at_end(after)
            results = [builder.phi(VECTOR) for _ in range(rows * count)]
            for values, block in found:
                for phi, value in zip(results, values, strict=True):
                    phi.add_incoming(value, block)
            return results[0] if rows * count == 1 else context.make_tuple(builder, sig.return_type, results)

        result = vector if rows * count == 1 else types.UniTuple(vector, rows * count)
        return result(*[types.int64] * 6), codegen

    return typed


tile_1 = intrinsic(_tiles(1, 1))  # (kind, w, w_row, x, x_row, n): one row x with one group
tile_4 = intrinsic(_tiles(TILE_ROWS, 1))  # four rows x, x_row bytes apart, with one
tile_8 = intrinsic(_tiles(TILE_ROWS, TILE_GROUPS))  # and with two, w_row bytes apart
