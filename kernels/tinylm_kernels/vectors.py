"""Sixteen floats at once: a vector type for Numba code.

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
from functools import partial

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from . import simd
from .jit import jit

__all__ = [
    "LANES",
    "LINE",
    "exp",
    "fence",
    "four_totals",
    "hide_before",
    "hide_from",
    "larger",
    "largest",
    "load",
    "load_some",
    "log",
    "peek",
    "poke",
    "prefetch",
    "read",
    "sigmoid",
    "smaller",
    "splat",
    "store",
    "store_some",
    "stream",
    "tanh",
    "total",
    "where_negative",
    "write",
    "zero_before",
    "zero_from",
]

LANES = 16
LINE = np.int64(64)  # bytes in a cache line, and in a vector

# The types and helpers below write LLVM code; products.py uses them too.
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR, LANES_I32 = (ir.VectorType(kind, LANES) for kind in (F32, I32))
_IOTA = ir.Constant(LANES_I32, list(range(LANES)))
FLAGS = ("contract",)  # multiply-adds may fuse, nothing else is reordered


class Vector(types.Type):
    """The Numba type of 16 floats."""

    def __init__(self):
        super().__init__(name="float32x16")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, VECTOR)


def pointer_to(builder, address, kind):
    """The address, an int64, as a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def _constant(value):
    return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)


def emit_splat(builder, value):
    """A vector, or a vector of int32, with `value` in every lane."""
    kind = ir.VectorType(value.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(LANES_I32, [0] * LANES))


def emit_load(builder, address):
    """`load`, which promises no alignment beyond that of a float."""
    return builder.load(pointer_to(builder, address, VECTOR), align=4)


def emit_call(builder, name, result, arguments):
    """A call of one of LLVM's functions, which must take just these types."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def emit_first_lanes(builder, n):
    """The mask of lanes below n (int64)."""
    clamped = builder.select(builder.icmp_signed("<", n, I64(LANES)), n, I64(LANES))
    return builder.icmp_signed("<", _IOTA, emit_splat(builder, builder.trunc(clamped, I32)))


def emit_load_some(builder, address, n):
    """`load_some`."""
    pointer = pointer_to(builder, address, VECTOR)
    arguments = [pointer, ir.Constant(I32, 4), emit_first_lanes(builder, n), ir.Constant(VECTOR, None)]
    return emit_call(builder, "llvm.masked.load.v16f32.p0", VECTOR, arguments)


def _operator(python, llvm):
    @infer_global(python)
    class _Template(ConcreteTemplate):
        cases = [signature(vector, vector, vector)]  # noqa: RUF012 - Numba's templates are made like this

    @lower_builtin(python, vector, vector)
    def _lower(context, builder, sig, args):
        return getattr(builder, llvm)(*args, flags=FLAGS)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")
_operator(operator.truediv, "fdiv")


@intrinsic
def load(typingctx, address):
    """The 16 floats at an address."""
    return vector(types.int64), lambda context, builder, sig, args: emit_load(builder, *args)


@intrinsic
def load_some(typingctx, address, n):
    """The first n of 16 floats at an address; the other lanes are 0 and their memory is not touched."""
    return vector(types.int64, types.int64), lambda context, builder, sig, args: emit_load_some(builder, *args)


@intrinsic
def store(typingctx, address, value):
    """Write 16 floats."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], pointer_to(builder, args[0], VECTOR), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def store_some(typingctx, address, value, n):
    """Write the first n lanes."""

    def codegen(context, builder, sig, args):
        address, value, n = args
        pointer = pointer_to(builder, address, VECTOR)
        mask = emit_first_lanes(builder, n)
        void = ir.VoidType()
        emit_call(builder, "llvm.masked.store.v16f32.p0", void, [value, pointer, ir.Constant(I32, 4), mask])
        return context.get_dummy_value()

    return types.void(types.int64, vector, types.int64), codegen


@intrinsic
def stream(typingctx, address, value):
    """Write 16 floats, at an address that is a multiple of LINE, past the caches: nothing is read for it.

    For results far larger than the caches; whoever reads them next waits for the memory.
    """

    def codegen(context, builder, sig, args):
        written = builder.store(args[1], pointer_to(builder, args[0], VECTOR), align=4 * LANES)
        written.set_metadata("nontemporal", builder.module.add_metadata([I32(1)]))
        return context.get_dummy_value()

    return types.void(types.int64, vector), codegen


@intrinsic
def fence(typingctx):
    """Have what was streamed written before anything that follows: at the end of a task that streams."""

    def codegen(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx, address):
    """Have the line at an address brought near before it is needed; it may lie behind the end of an array."""

    def codegen(context, builder, sig, args):
        pointer = pointer_to(builder, args[0], ir.IntType(8))
        to_read, near, data = (ir.Constant(I32, n) for n in (0, 2, 1))
        emit_call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, to_read, near, data])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def peek(typingctx, address):
    """One float at an address."""

    def codegen(context, builder, sig, args):
        return builder.load(pointer_to(builder, args[0], F32))

    return types.float32(types.int64), codegen


@intrinsic
def poke(typingctx, address, value):
    """Write one float."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], pointer_to(builder, args[0], F32))
        return context.get_dummy_value()

    return types.void(types.int64, types.float32), codegen


@intrinsic
def splat(typingctx, value):
    """The float in all lanes."""
    return vector(types.float32), lambda context, builder, sig, args: emit_splat(builder, *args)


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


@intrinsic
def where_negative(typingctx, x, a, b):
    """a in the lanes where x < 0, b in the others."""

    def codegen(context, builder, sig, args):
        x, a, b = args
        return builder.select(builder.fcmp_ordered("<", x, _constant(0)), a, b)

    return vector(vector, vector, vector), codegen


def emit_across(builder, value, combine):
    """One float from all lanes: halves are combined until one lane is left, so the order is fixed."""
    for distance in (8, 4, 2, 1):
        order = ir.Constant(LANES_I32, [(lane + distance) % LANES for lane in range(LANES)])
        value = combine(value, builder.shuffle_vector(value, ir.Constant(VECTOR, ir.Undefined), order))
    return builder.extract_element(value, ir.Constant(I32, 0))


@intrinsic
def total(typingctx, value):
    """The sum of the lanes."""

    def codegen(context, builder, sig, args):
        return emit_across(builder, args[0], lambda a, b: builder.fadd(a, b, flags=FLAGS))

    return types.float32(vector), codegen


@intrinsic
def four_totals(typingctx, a, b, c, d):
    """The sums of the lanes of four vectors, which takes half the time of one after the other."""

    def codegen(context, builder, sig, args):
        def halves(first, second, width):
            """Groups of `width` lanes of both, of which each two side by side are added."""
            lanes = [lane for lane in range(2 * LANES) if lane // width % 2 == 0]
            orders = [ir.Constant(LANES_I32, [lane + shift for lane in lanes]) for shift in (0, width)]
            return builder.fadd(*[builder.shuffle_vector(first, second, order) for order in orders], flags=FLAGS)

        a, b, c, d = args
        sums = halves(halves(a, b, 8), halves(c, d, 8), 4)  # four lanes of each
        for distance in (2, 1):
            order = ir.Constant(LANES_I32, [lane ^ distance for lane in range(LANES)])
            other = builder.shuffle_vector(sums, ir.Constant(VECTOR, ir.Undefined), order)
            sums = builder.fadd(sums, other, flags=FLAGS)
        lanes = [builder.extract_element(sums, ir.Constant(I32, 4 * n)) for n in range(4)]
        return context.make_tuple(builder, sig.return_type, lanes)

    return types.UniTuple(types.float32, 4)(vector, vector, vector, vector), codegen


@intrinsic
def largest(typingctx, value):
    """The largest lane; what a NaN among them gives is not promised."""

    def codegen(context, builder, sig, args):
        def larger(a, b):
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        return emit_across(builder, args[0], larger)

    return types.float32(vector), codegen


def _fill(value, before):
    def typed(typingctx, values, n):
        def codegen(context, builder, sig, args):
            choices = (_constant(value), args[0]) if before else (args[0], _constant(value))
            return builder.select(emit_first_lanes(builder, args[1]), *choices)

        return vector(vector, types.int64), codegen

    return typed


hide_before = intrinsic(_fill(-np.inf, before=True))  # -inf in the lanes below n
hide_from = intrinsic(_fill(-np.inf, before=False))  # -inf in the lanes from n on
zero_before = intrinsic(_fill(0.0, before=True))  # 0 in the lanes below n
zero_from = intrinsic(_fill(0.0, before=False))  # 0 in the lanes from n on


def _multiply_add(builder, a, b, c):
    return builder.fadd(builder.fmul(a, b, flags=FLAGS), c, flags=FLAGS)


def _exp_parts(builder, x):
    """(e^r - 1, 2^n) with x = n ln 2 + r, as in simd.py."""
    multiply_add = partial(_multiply_add, builder)
    rounded = multiply_add(x, _constant(simd.LOG2_E), _constant(simd.ROUND))
    n = builder.fsub(rounded, _constant(simd.ROUND), flags=FLAGS)
    r = multiply_add(n, _constant(-simd.LN_2_HIGH), x)
    r = multiply_add(n, _constant(-simd.LN_2_LOW), r)
    y = _constant(simd.C6)
    for c in (simd.C5, simd.C4, simd.C3, simd.C2):
        y = multiply_add(y, r, _constant(c))
    y = multiply_add(builder.fmul(y, r, flags=FLAGS), r, r)
    # 2^n as a float of its own, to multiply by: then NaN stays NaN whatever its n.
    exponent = builder.shl(builder.bitcast(rounded, LANES_I32), ir.Constant(LANES_I32, [23] * LANES))
    return y, builder.bitcast(builder.add(exponent, ir.Constant(LANES_I32, [127 << 23] * LANES)), VECTOR)


@intrinsic
def exp(typingctx, x):
    """e^x for x up to 88; inf from 88.4 to 89; 0 where the result would be subnormal, and for -inf; NaN for NaN."""

    def codegen(context, builder, sig, args):
        y, power = _exp_parts(builder, args[0])
        y = builder.fmul(builder.fadd(y, _constant(1), flags=FLAGS), power, flags=FLAGS)
        tiny = builder.fcmp_ordered("<", args[0], _constant(simd.LOWEST))
        return builder.select(tiny, _constant(0), y)

    return vector(vector), codegen


@intrinsic
def _expm1(typingctx, x):
    """e^x - 1 without cancellation near 0, for |x| up to 80."""

    def codegen(context, builder, sig, args):
        y, power = _exp_parts(builder, args[0])
        rest = builder.fsub(power, _constant(1), flags=FLAGS)
        return builder.fadd(builder.fmul(power, y, flags=FLAGS), rest, flags=FLAGS)

    return vector(vector), codegen


@intrinsic
def log(typingctx, x):
    """ln x for normal x > 0, and NaN for NaN; what other x give is finite.

    x = 2^n m with m from sqrt(1/2) to sqrt(2), and ln m = 2 artanh z, z = (m - 1) / (m + 1), by its series.
    """

    def codegen(context, builder, sig, args):
        (x,) = args
        root = ir.Constant(LANES_I32, [int(np.float32(0.5**0.5).view(np.int32))] * LANES)
        bits = builder.bitcast(x, LANES_I32)
        n = builder.ashr(builder.sub(bits, root), ir.Constant(LANES_I32, [23] * LANES))
        m = builder.sub(bits, builder.shl(n, ir.Constant(LANES_I32, [23] * LANES)))
        n, m = builder.sitofp(n, VECTOR), builder.bitcast(m, VECTOR)
        z = builder.fdiv(builder.fsub(m, _constant(1)), builder.fadd(m, _constant(1)))
        square = builder.fmul(z, z)
        y = _constant(2 / 9)
        for c in (2 / 7, 2 / 5, 2 / 3):
            y = _multiply_add(builder, y, square, _constant(c))
        small = _multiply_add(builder, n, _constant(simd.LN_2_LOW), builder.fadd(z, z))
        y = _multiply_add(builder, builder.fmul(y, square), z, small)
        y = _multiply_add(builder, n, _constant(simd.LN_2_HIGH), y)
        return builder.select(builder.fcmp_unordered("uno", x, x), x, y)

    return vector(vector), codegen


@jit
def sigmoid(x):
    """1 / (1 + e^-x); 0 below -88.4, where it is less than 1e-38."""
    one = splat(np.float32(1))
    return one / (one + exp(splat(np.float32(0)) - larger(splat(np.float32(-89)), x)))


@jit
def tanh(x):
    """(e^2x - 1) / (e^2x + 1), the arithmetic of simd.tanh."""
    x = larger(splat(-simd.TANH_FLAT), x)
    x = smaller(splat(simd.TANH_FLAT), x)
    y = _expm1(x + x)
    return y / (y + splat(np.float32(2)))


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
