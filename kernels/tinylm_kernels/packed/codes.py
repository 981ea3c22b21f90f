"""How compiled code reads packed numbers: 128 at a time, as unsigned bytes with their scales.

128 numbers, a *unit*, are four blocks of 32 or half a block of 256. Their codes become two vectors of 64 bytes: the
first 16 of each 32, and the last 16. Lane i of the scales belongs to bytes 4 i to 4 i + 3 of both, which one sum of
`integer_dot` takes together. A format is

    number = scale (code - 2^shift)          the symmetric ones
    number = scale code + minimum            those with a minimum

and here says how its bytes become codes, scales and minima. What the fields of a block are, blocks_of_32.py and
blocks_of_256.py say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from llvmlite import ir

from ..integer_dot import BYTES, CODES, I8, I16
from ..jit import compiles_for
from ..vectors import F32, I32, I64, LANES, pointer_to
from .base import Packed
from .blocks_of_32 import Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
from .blocks_of_256 import Q4_K, Q5_K, Q6_K

__all__ = ["INTEGER_FORMATS", "UNIT", "IntegerFormat", "Unit", "emit_halves"]

UNIT = 2 * CODES
BLOCKS = UNIT // 32
# 64 bits at a time are shifted; what comes from the next byte, a mask takes away.
QUADS = ir.VectorType(I64, CODES // 8)


class Unit(NamedTuple):
    """128 numbers: two vectors of codes, the scales of both, or one for each, and minima where the format has them."""

    codes: tuple[Any, Any]
    scales: Any
    minima: Any = None


@dataclass(frozen=True)
class IntegerFormat:
    """A format that integer products take.

    read: (builder, address) to the units of four blocks of 32, or of a block of 256. bits: of a code; shift: see above.
    """

    packed: type[Packed]
    read: Callable[..., list[Unit]]
    bits: int
    shift: int = 0

    @property
    def units(self) -> int:
        """How many are read at once."""
        return max(self.packed.block_values // UNIT, 1)

    @property
    def bytes(self) -> int:
        """Of what is read at once."""
        return self.units * UNIT // self.packed.block_values * self.packed.block_bytes


def _splat(kind, value):
    return ir.Constant(kind, [value] * kind.count)


def _shuffled(builder, first, second, lanes):
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))


def _load(builder, address, offset, count, kind=I8):
    pointer = pointer_to(builder, builder.add(address, I64(offset)), ir.VectorType(kind, count))
    return builder.load(pointer, align=1)


def _gathered(builder, address, offsets):
    """The bytes at these offsets, in runs of some side by side.

    With AVX512-VBMI two loads and one permutation of bytes; else a load for each run.
    """
    start, end = min(offsets), max(offsets) + 1
    if compiles_for("avx512vbmi"):
        second = max(end - CODES, 0)
        start = min(start, second)
        windows = [_load(builder, address, at, CODES) for at in (start, second)]
        return _shuffled(builder, *windows, [o - start if o < start + CODES else CODES + o - second for o in offsets])
    runs = [i for i, o in enumerate(offsets) if not i or o != offsets[i - 1] + 1]
    whole = None
    for first, stop in zip(runs, [*runs[1:], len(offsets)], strict=True):
        piece = _load(builder, address, offsets[first], stop - first)
        whole = piece if whole is None else _appended(builder, whole, piece)
    return whole


def _appended(builder, vector, piece):
    """The vector and what follows it, of any size."""
    have, more = vector.type.count, piece.type.count
    size = max(have, more)
    widened = [_shuffled(builder, v, v, [min(n, v.type.count - 1) for n in range(size)]) for v in (vector, piece)]
    return _shuffled(builder, *widened, [*range(have), *range(size, size + more)])


def _spread(builder, values, first, count):
    """`count` values of a vector from `first` on, each in as many of 16 lanes side by side."""
    return _shuffled(builder, values, values, [first + lane * count // LANES for lane in range(LANES)])


def emit_halves(builder, bits):
    """The float16 numbers with these bits, a vector of int16, as float32."""
    count = bits.type.count
    floats, words = ir.VectorType(F32, count), ir.VectorType(I32, count)
    if compiles_for("f16c"):
        return builder.fpext(builder.bitcast(bits, ir.VectorType(ir.HalfType(), count)), floats)
    wide = builder.zext(bits, words)
    magnitude = builder.shl(builder.and_(wide, _splat(words, 0x7FFF)), _splat(words, 13))
    # Exponents are counted from 127, not 15; multiplied in, that serves the subnormal numbers too.
    number = builder.fmul(builder.bitcast(magnitude, floats), _splat(floats, 2.0**112))
    special = builder.icmp_unsigned(">=", magnitude, _splat(words, 0x7C00 << 13))
    plain = builder.bitcast(number, words)
    magnitude = builder.select(special, builder.or_(magnitude, _splat(words, 0x7F800000)), plain)
    sign = builder.shl(builder.and_(wide, _splat(words, 0x8000)), _splat(words, 16))
    return builder.bitcast(builder.or_(magnitude, sign), floats)


def _block_halves(builder, address, size, offset):
    """The float16 at an offset in each of four blocks, each in 4 of 16 lanes."""
    bits = _gathered(builder, address, [size * block + offset + byte for block in range(BLOCKS) for byte in range(2)])
    bits = builder.bitcast(bits, ir.VectorType(I16, BLOCKS))
    return emit_halves(builder, _spread(builder, bits, 0, BLOCKS))


def _runs(size, offset):
    """The offsets of 16 bytes in each of four blocks."""
    return [size * block + offset + byte for block in range(BLOCKS) for byte in range(16)]


def _nibbles(builder, packed):
    """The low and the high halves of 64 bytes."""
    low = builder.and_(packed, _splat(BYTES, 15))
    return low, _field(builder, packed, 4, 15)


def _field(builder, packed, shift, mask):
    """64 bytes shifted to the right, and what the mask leaves of them."""
    if shift:
        quads = builder.lshr(builder.bitcast(packed, QUADS), _splat(QUADS, shift))
        packed = builder.bitcast(quads, BYTES)
    return builder.and_(packed, _splat(BYTES, mask))


def _sixteens(builder, first, second, order):
    """Four of the eight runs of 16 bytes in two vectors."""
    return _shuffled(builder, first, second, [16 * run + byte for run in order for byte in range(16)])


def _with_fifth_bits(builder, codes, address, size, offset):
    """16 is added where a bit of the words of four blocks is set."""
    words = _gathered(builder, address, [size * block + offset + byte for block in range(BLOCKS) for byte in range(4)])
    halves = builder.bitcast(words, ir.VectorType(I16, 2 * BLOCKS))
    results = []
    for part, values in enumerate(codes):
        bits = _shuffled(builder, halves, halves, range(part, 2 * BLOCKS, 2))
        bits = builder.bitcast(bits, ir.VectorType(ir.IntType(1), CODES))
        results.append(builder.or_(values, builder.select(bits, _splat(BYTES, 16), _splat(BYTES, 0))))
    return tuple(results)


def _read_q8_0(builder, at):
    codes = [builder.xor(_gathered(builder, at, _runs(34, start)), _splat(BYTES, 0x80)) for start in (2, 18)]
    return [Unit(tuple(codes), _block_halves(builder, at, 34, 0))]


def _read_q4_0(builder, at):
    return [Unit(_nibbles(builder, _gathered(builder, at, _runs(18, 2))), _block_halves(builder, at, 18, 0))]


def _read_q4_1(builder, at):
    codes = _nibbles(builder, _gathered(builder, at, _runs(20, 4)))
    return [Unit(codes, *(_block_halves(builder, at, 20, offset) for offset in (0, 2)))]


def _read_q5_0(builder, at):
    codes = _with_fifth_bits(builder, _nibbles(builder, _gathered(builder, at, _runs(22, 6))), at, 22, 2)
    return [Unit(codes, _block_halves(builder, at, 22, 0))]


def _read_q5_1(builder, at):
    codes = _with_fifth_bits(builder, _nibbles(builder, _gathered(builder, at, _runs(24, 8))), at, 24, 4)
    return [Unit(codes, *(_block_halves(builder, at, 24, offset) for offset in (0, 2)))]


def _scales_and_minima(builder, at):
    """d scale and -dmin minimum of the eight sub-blocks of a Q4_K or Q5_K, 8 floats each."""
    eight = ir.VectorType(F32, 8)
    rows = [_load(builder, at, start, 4) for start in (4, 8, 12)]
    four = rows[0].type
    upper = [builder.and_(builder.lshr(row, _splat(four, 2)), _splat(four, 48)) for row in rows[:2]]
    low = builder.and_(rows[2], _splat(four, 15)), builder.lshr(rows[2], _splat(four, 4))
    d = emit_halves(builder, _load(builder, at, 0, 2, I16))
    results = []
    for which, sign in ((0, 1), (1, -1)):
        first, last = builder.and_(rows[which], _splat(four, 63)), builder.or_(low[which], upper[which])
        whole = builder.uitofp(_shuffled(builder, first, last, range(8)), eight)
        scale = builder.fmul(_shuffled(builder, d, d, [which] * 8), _splat(eight, sign))
        results.append(builder.fmul(whole, scale))
    return results


def _k_units(builder, at, nibbles_at, fifths=None):
    """The two units of a Q4_K or Q5_K: of 64 bytes the low halves are sub-blocks 0 and 2, the high ones 1 and 3."""
    scales, minima = _scales_and_minima(builder, at)
    units = []
    for number in range(2):
        low, high = _nibbles(builder, _load(builder, at, nibbles_at + CODES * number, CODES))
        codes = tuple(_sixteens(builder, low, high, (run, 4 + run, 2 + run, 6 + run)) for run in range(2))
        if fifths is not None:
            codes = tuple(builder.or_(c, _k_fifth_bits(builder, fifths, number, run)) for run, c in enumerate(codes))
        units.append(Unit(codes, *(_spread(builder, each, 4 * number, 4) for each in (scales, minima))))
    return units


def _k_fifth_bits(builder, fifths, number, run):
    """16 where the bit of a sub-block is set: bit 4 number + i of 16 bytes for the i-th run of a vector."""
    repeated = _sixteens(builder, fifths, fifths, [run] * 4)
    bits = ir.Constant(BYTES, [1 << 4 * number + byte // 16 for byte in range(CODES)])
    unset = builder.icmp_unsigned("==", builder.and_(repeated, bits), _splat(BYTES, 0))
    return builder.select(unset, _splat(BYTES, 0), _splat(BYTES, 16))


def _read_q4_k(builder, at):
    return _k_units(builder, at, 16)


def _read_q5_k(builder, at):
    return _k_units(builder, at, 48, _load(builder, at, 16, 32))


def _read_q6_k(builder, at):
    signed = builder.sitofp(_load(builder, at, 192, 16), ir.VectorType(F32, 16))
    d = emit_halves(builder, _load(builder, at, 208, 1, I16))
    scales = builder.fmul(_shuffled(builder, d, d, [0] * 16), signed)
    units = []
    for number in range(2):
        low, high = _nibbles(builder, _load(builder, at, CODES * number, CODES))
        upper = _load(builder, at, 128 + 32 * number, 32)
        codes, of_codes = [], []
        for run in range(2):
            fours = _sixteens(builder, low, high, (run, 2 + run, 4 + run, 6 + run))
            twos = _sixteens(builder, upper, upper, [run] * 4)
            shifts = ir.Constant(QUADS, [lane // 2 * 2 for lane in range(QUADS.count)])
            twos = builder.bitcast(builder.lshr(builder.bitcast(twos, QUADS), shifts), BYTES)
            twos = builder.bitcast(builder.and_(twos, _splat(BYTES, 3)), QUADS)
            twos = builder.bitcast(builder.shl(twos, _splat(QUADS, 4)), BYTES)  # of a byte two bits: none is lost
            codes.append(builder.or_(fours, twos))
            order = [8 * number + 2 * (lane // 4) + run for lane in range(LANES)]
            of_codes.append(_shuffled(builder, scales, scales, order))
        units.append(Unit(tuple(codes), tuple(of_codes)))
    return units


INTEGER_FORMATS = (
    IntegerFormat(Q8_0, _read_q8_0, bits=8, shift=7),
    IntegerFormat(Q4_0, _read_q4_0, bits=4, shift=3),
    IntegerFormat(Q4_1, _read_q4_1, bits=4),
    IntegerFormat(Q5_0, _read_q5_0, bits=5, shift=4),
    IntegerFormat(Q5_1, _read_q5_1, bits=5),
    IntegerFormat(Q4_K, _read_q4_k, bits=4),
    IntegerFormat(Q5_K, _read_q5_k, bits=5),
    IntegerFormat(Q6_K, _read_q6_k, bits=6, shift=5),
)
