"""Weights of 16 bits for many rows x: some rows of them at a time become float32, for the matrix product of BLAS."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from ..blas import matmul
from ..jit import Twins
from ..pool import empty
from ..vectors import I32, LANES, LANES_I32, VECTOR, emit_call, emit_first_lanes, pointer_to, vector, write
from .base import Packed
from .codes import emit_halves
from .dots import HALVES
from .float16 import F16
from .products import address_of

__all__ = ["multiply_widened"]

# Numbers that are widened at a time, 16 MB: a matrix of a small model at once, and a large one takes no more memory.
AT_ONCE = 1 << 22
# Numbers in a task of the threads, and how many of them take the time of what `Twins` counts as one.
CHUNK, LIGHT = 1 << 14, 4


@intrinsic
def _widened(typingctx, is_float16, address, left):
    """Sixteen numbers of 16 bits, of which `left` exist, as float32."""

    def codegen(context, builder, sig, args):
        is_float16, address, left = args
        arguments = [
            pointer_to(builder, address, HALVES), I32(2), emit_first_lanes(builder, left), ir.Constant(HALVES, None)
        ]  # fmt: skip
        bits = emit_call(builder, f"llvm.masked.load.v{LANES}i16.p0", HALVES, arguments)
        upper = builder.shl(builder.zext(bits, LANES_I32), ir.Constant(LANES_I32, [16] * LANES))
        return builder.select(is_float16, emit_halves(builder, bits), builder.bitcast(upper, VECTOR))

    return vector(types.boolean, types.int64, types.int64), codegen


@Twins
def _widen(is_float16, source, target, count):
    for chunk in prange((count + CHUNK - 1) // CHUNK):
        for i in range(chunk * CHUNK, min(count, (chunk + 1) * CHUNK), LANES):
            write(target + 4 * i, _widened(is_float16, source + 2 * i, count - i), count - i)


def multiply_widened(x: np.ndarray, weight: Packed, bias: np.ndarray | None, y: np.ndarray, *, add: bool) -> None:
    """As `multiply_packed`, for float16 and bfloat16 and so many rows x that the products bound the time."""
    outputs, n = weight.shape
    rows = min(max(AT_ONCE // n, 1), outputs)
    wide = empty((rows, n))
    for first in range(0, outputs, rows):
        part = np.ascontiguousarray(weight.blocks[first : first + rows])
        count = part.size // 2
        _widen(count // LIGHT, np.bool_(weight.format == F16.format), address_of(part), address_of(wide), count)
        columns = y[:, first : first + rows]
        if rows == outputs:
            matmul(x, wide.T, columns, accumulate=add)
        elif add:
            columns += matmul(x, wide[: len(part)].T)
        else:
            columns[...] = matmul(x, wide[: len(part)].T)
    if bias is not None:
        y += bias
