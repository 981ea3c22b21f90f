"""Sixteen floats at once: a vector type for Numba code, and the register tile that all products run through.

Where the compiler's own vectoriser does not see what to do (a matrix product from strided rows, a softmax
that keeps its running peak in a register) the kernels say it: `load(address)` gives a `float32x16`,
arithmetic and `exp` work on it, `store` puts it back. Addresses are plain integers in bytes, so that one
compiled kernel serves arrays of any strides. LLVM maps a vector of 16 to one register with AVX-512, to two
with AVX2, to four with NEON or SSE, so that the same code runs everywhere.

Every operation here carries its own floating-point flags (multiply-adds may fuse, nothing else), which Numba
leaves alone: code that uses them may be compiled with any flags.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from . import simd
from .jit import jit

__all__ = [
    "ADD",
    "ALL",
    "FLOAT",
    "LANES",
    "LINE",
    "PANEL",
    "REPLACE",
    "ROWS",
    "aligned",
    "exp",
    "hide_before",
    "larger",
    "largest",
    "load",
    "load_some",
    "pack",
    "pack_transposed",
    "peek",
    "poke",
    "product",
    "read",
    "sigmoid",
    "smaller",
    "splat",
    "store",
    "store_some",
    "tanh",
    "total",
    "write",
    "zero_before",
]

# Arguments as NumPy scalars, because Numba compiles a function anew for each literal that it is called with.
FLOAT = np.int64(4)  # bytes
ALL = np.int64(1 << 40)  # a shift beyond any index, for `product`
REPLACE, ADD = np.bool_(False), np.bool_(True)  # what `product` does to c
LANES = 16
LINE = np.int64(64)  # bytes in a cache line, and in a vector


def _has_32_registers() -> bool:
    """Whether the code is for AVX-512, as far as Numba's settings tell: NUMBA_CPU_NAME hides the features."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return config.CPU_NAME is None and "+avx512f" in get_host_cpu_features()


# The register tile is ROWS x PANEL floats. With 32 registers of 16 floats: 16 sums, enough to hide the
# latency of a multiply-add on any core, and two loads of b for 16 multiply-adds. With 16 registers of 8
# floats (AVX2): 8 sums in registers. Both reach 110 GFLOP/s on a Zen 4 core, whose peak is about 118.
ROWS, PANEL = (8, 32) if _has_32_registers() else (4, 16)

_float, _int32, _int64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_vector, _lanes, _bits = (ir.VectorType(kind, LANES) for kind in (_float, _int32, ir.IntType(1)))
_IOTA = ir.Constant(_lanes, list(range(LANES)))
_FLAGS = ("contract",)


class Vector(types.Type):
    """The Numba type of 16 floats."""

    def __init__(self):
        super().__init__(name="float32x16")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _vector)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _constant(value):
    return ir.Constant(_vector, [float(np.float32(value))] * LANES)


def _splat(builder, value):
    """A vector, or a vector of int32, with `value` in every lane."""
    kind = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_int32, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(_lanes, [0] * LANES))


def _load(builder, address):
    return builder.load(_pointer(builder, address, _vector), align=4)


def _call(builder, name, result, arguments):
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _first_lanes(builder, n):
    """The mask of lanes below n (int64)."""
    clamped = builder.select(builder.icmp_signed("<", n, _int64(LANES)), n, _int64(LANES))
    return builder.icmp_signed("<", _IOTA, _splat(builder, builder.trunc(clamped, _int32)))


def _load_some(builder, address, n):
    pointer = _pointer(builder, address, _vector)
    arguments = [pointer, ir.Constant(_int32, 4), _first_lanes(builder, n), ir.Constant(_vector, None)]
    return _call(builder, "llvm.masked.load.v16f32.p0", _vector, arguments)


def _operator(python, llvm):
    @infer_global(python)
    class _Template(ConcreteTemplate):
        cases = [signature(vector, vector, vector)]  # noqa: RUF012

    @lower_builtin(python, vector, vector)
    def _lower(context, builder, sig, args):
        return getattr(builder, llvm)(*args, flags=_FLAGS)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def load(typingctx, address):
    """The 16 floats at an address."""
    return vector(types.int64), lambda context, builder, sig, args: _load(builder, *args)


@intrinsic
def load_some(typingctx, address, n):
    """The first n of 16 floats at an address; the other lanes are 0 and their memory is not touched."""
    return vector(types.int64, types.int64), lambda context, builder, sig, args: _load_some(builder, *args)


@intrinsic
def store(typingctx, address, value):
    """Write 16 floats."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], _pointer(builder, args[0], _vector), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def store_some(typingctx, address, value, n):
    """Write the first n lanes."""

    def codegen(context, builder, sig, args):
        address, value, n = args
        pointer = _pointer(builder, address, _vector)
        mask = _first_lanes(builder, n)
        void = ir.VoidType()
        _call(builder, "llvm.masked.store.v16f32.p0", void, [value, pointer, ir.Constant(_int32, 4), mask])
        return context.get_dummy_value()

    return types.void(types.int64, vector, types.int64), codegen


@intrinsic
def peek(typingctx, address):
    """One float at an address."""

    def codegen(context, builder, sig, args):
        return builder.load(_pointer(builder, args[0], _float))

    return types.float32(types.int64), codegen


@intrinsic
def poke(typingctx, address, value):
    """Write one float."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], _pointer(builder, args[0], _float))
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@intrinsic
def splat(typingctx, value):
    """The float in all lanes."""
    return vector(types.float32), lambda context, builder, sig, args: _splat(builder, *args)


@intrinsic
def larger(typingctx, a, b):
    """The larger of each pair, b where either is NaN: one instruction."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return vector(vector, vector), codegen


@intrinsic
def smaller(typingctx, a, b):
    """The smaller of each pair, b where either is NaN."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return vector(vector, vector), codegen


def _across(builder, value, combine):
    """One float from all lanes: halves are combined until one lane is left, so the order is fixed."""
    for distance in (8, 4, 2, 1):
        order = ir.Constant(_lanes, [(lane + distance) % LANES for lane in range(LANES)])
        value = combine(value, builder.shuffle_vector(value, ir.Constant(_vector, ir.Undefined), order))
    return builder.extract_element(value, ir.Constant(_int32, 0))


@intrinsic
def total(typingctx, value):
    """The sum of the lanes."""

    def codegen(context, builder, sig, args):
        return _across(builder, args[0], lambda a, b: builder.fadd(a, b, flags=_FLAGS))

    return types.float32(vector), codegen


@intrinsic
def largest(typingctx, value):
    """The largest lane; what a NaN among them gives is not promised."""

    def codegen(context, builder, sig, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return _across(builder, args[0], larger)

    return types.float32(vector), codegen


def _fill_before(value):
    def typed(typingctx, values, n):
        def codegen(context, builder, sig, args):
            return builder.select(_first_lanes(builder, args[1]), _constant(value), args[0])

        return vector(vector, types.int64), codegen

    return typed


hide_before = intrinsic(_fill_before(-np.inf))  # -inf in the lanes below n
zero_before = intrinsic(_fill_before(0.0))  # 0 in the lanes below n


def _exp_parts(builder, x):
    """(e^r - 1, 2^n) with x = n ln 2 + r, as in simd.py."""

    def multiply_add(a, b, c):
        return builder.fadd(builder.fmul(a, b, flags=_FLAGS), c, flags=_FLAGS)

    rounded = multiply_add(x, _constant(simd.LOG2_E), _constant(simd.ROUND))
    n = builder.fsub(rounded, _constant(simd.ROUND), flags=_FLAGS)
    r = multiply_add(n, _constant(-simd.LN_2_HIGH), x)
    r = multiply_add(n, _constant(-simd.LN_2_LOW), r)
    y = _constant(simd.C6)
    for c in (simd.C5, simd.C4, simd.C3, simd.C2):
        y = multiply_add(y, r, _constant(c))
    y = multiply_add(builder.fmul(y, r, flags=_FLAGS), r, r)
    # 2^n as a float of its own, to multiply by: then NaN stays NaN whatever its n.
    exponent = builder.shl(builder.bitcast(rounded, _lanes), ir.Constant(_lanes, [23] * LANES))
    return y, builder.bitcast(builder.add(exponent, ir.Constant(_lanes, [127 << 23] * LANES)), _vector)


@intrinsic
def exp(typingctx, x):
    """e^x for x up to 88; 0 where the result would be subnormal, and for -inf; NaN for NaN."""

    def codegen(context, builder, sig, args):
        y, power = _exp_parts(builder, args[0])
        y = builder.fmul(builder.fadd(y, _constant(1), flags=_FLAGS), power, flags=_FLAGS)
        tiny = builder.fcmp_ordered("<", args[0], _constant(simd.LOWEST))
        return builder.select(tiny, _constant(0), y)

    return vector(vector), codegen


@intrinsic
def _expm1(typingctx, x):
    """e^x - 1 without cancellation near 0, for |x| up to 80."""

    def codegen(context, builder, sig, args):
        y, power = _exp_parts(builder, args[0])
        rest = builder.fsub(power, _constant(1), flags=_FLAGS)
        return builder.fadd(builder.fmul(power, y, flags=_FLAGS), rest, flags=_FLAGS)

    return vector(vector), codegen


@jit
def sigmoid(x):
    """1 / (1 + e^-x); below -88, where it is less than 1e-38, as at -88."""
    one = splat(np.float32(1))
    return one / (one + exp(splat(np.float32(0)) - larger(splat(np.float32(-88)), x)))


@jit
def tanh(x):
    """(e^2x - 1) / (e^2x + 1), the arithmetic of simd.tanh."""
    x = larger(splat(-simd.TANH_FLAT), x)
    x = smaller(splat(simd.TANH_FLAT), x)
    y = _expm1(x + x)
    return y / (y + splat(np.float32(2)))


@intrinsic
def transpose(typingctx, source, source_row, rows, columns, target, target_row, scale):
    """Write scale times the transpose of a block of 16 x 16 floats, of which rows x columns exist.

    Missing rows repeat the last one, missing columns become 0. Row strides are in bytes.
    """

    def codegen(context, builder, sig, args):
        source, source_row, rows, columns, target, target_row, scale = args
        scale = _splat(builder, scale)
        last = builder.sub(rows, ir.Constant(_int64, 1))
        block = []
        for n in range(LANES):
            row = ir.Constant(_int64, n)
            row = builder.select(builder.icmp_signed("<", row, last), row, last)
            address = builder.add(source, builder.mul(row, source_row))
            block.append(builder.fmul(_load_some(builder, address, columns), scale))
        # Four rounds that exchange sub-blocks of 8, 4, 2 and 1 between the rows n and n + size.
        for size in (8, 4, 2, 1):
            low = [i if not i & size else LANES + i - size for i in range(LANES)]
            high = [i + size if not i & size else LANES + i for i in range(LANES)]
            for n in range(LANES):
                if not n & size:
                    a, b = block[n], block[n + size]
                    block[n] = builder.shuffle_vector(a, b, ir.Constant(_lanes, low))
                    block[n + size] = builder.shuffle_vector(a, b, ir.Constant(_lanes, high))
        for n in range(LANES):
            address = builder.add(target, builder.mul(ir.Constant(_int64, n), target_row))
            builder.store(block[n], _pointer(builder, address, _vector), align=4)
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
        phi = builder.phi(_vector)
        phi.add_incoming(value, then_block)
        phi.add_incoming(ir.Constant(_vector, None), otherwise_block)
        sums.append(phi)
    return sums


def _tile_terms(builder, sums, rows, a_step, b, b_row, n):
    """The loop over the n > 0 terms of each sum."""
    width = len(sums) // ROWS
    before = builder.block
    loop, after = builder.append_basic_block("terms"), builder.append_basic_block("sums")
    builder.branch(loop)
    builder.position_at_end(loop)
    k, a_at, b_at = (builder.phi(_int64) for _ in range(3))
    running = [builder.phi(_vector) for _ in sums]
    right = [_load(builder, builder.add(b_at, _int64(LINE * v))) for v in range(width)]
    results = []
    for i, row in enumerate(rows):
        left = _splat(builder, builder.load(_pointer(builder, builder.add(row, a_at), _float)))
        for v in range(width):
            term = builder.fmul(left, right[v], flags=_FLAGS)
            results.append(builder.fadd(running[i * width + v], term, flags=_FLAGS))
    next_k = builder.add(k, _int64(1))
    steps = [next_k, builder.add(a_at, a_step), builder.add(b_at, b_row), *results]
    starts = [_int64(0), _int64(0), b, *sums]
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
                row = builder.select(builder.icmp_signed("<", _int64(i), last_row), _int64(i), last_row)
                rows.append(builder.add(a, builder.mul(row, a_row)))
                target = builder.add(c, builder.mul(_int64(i), c_row))
                for v in range(width):
                    targets.append(_pointer(builder, builder.add(target, _int64(LINE * v)), _vector))
            sums = _tile_sums(builder, targets, add)
            results = _tile_terms(builder, sums, rows, a_step, b, b_row, n)
            for target, result in zip(targets, results, strict=True):
                builder.store(result, target, align=4)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9, types.boolean), codegen

    return typed


_panel_tile, _narrow_tile = intrinsic(_tile(PANEL // LANES)), intrinsic(_tile(1))


@jit
def read(address, n):
    """The first n of 16 floats, all of them where n >= 16; the other lanes are 0."""
    if n >= LANES:
        return load(address)
    return load_some(address, n)


@jit
def write(address, value, n):
    """Write the first n lanes, all of them where n >= 16."""
    if n >= LANES:
        store(address, value)
    else:
        store_some(address, value, n)


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
