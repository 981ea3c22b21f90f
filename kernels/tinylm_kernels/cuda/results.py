"""Arrays as kernels take them, C-contiguous, and the grids that cover them."""

from __future__ import annotations

from typing import Any

from ..arrays import array_module
from .program import NUMBER_TYPES, Program

__all__ = [
    "NUMBERS",
    "THREADS",
    "blocks_of",
    "column_grid",
    "contiguous",
    "deliver",
    "elements",
    "integers",
    "room_for",
    "threads_for",
    "whole_warps",
]

NUMBERS = tuple(NUMBER_TYPES)
WARP = 32
# Threads of a block where each has an element of its own.
THREADS = 256
# Threads for a row: whole warps, each of which reads some of its numbers in turn.
MOST_FOR_A_ROW = 512
# Warps that share the rows of a strip of columns (common.cuh's COLUMN_WARPS), and parts of the rows at most.
COLUMN_WARPS, MOST_PARTS = 8, 32


def contiguous(array: Any) -> Any:
    """The array, copied only where it is not C-contiguous."""
    return array_module(array).ascontiguousarray(array)


def integers(array: Any) -> Any:
    """Ids, targets or positions as the kernels take them, in 64 bits."""
    return contiguous(array.astype("int64", copy=False))


def room_for(out: Any, like: Any) -> Any:
    """`out` where a kernel can write to it, else a new array of the shape and dtype of `like`."""
    usable = out is not None and out.flags.c_contiguous
    return out if usable else array_module(like).empty(like.shape, like.dtype)


def deliver(result: Any, out: Any) -> Any:
    """What the caller gets: the result, in `out` where there is one."""
    if out is None or out is result:
        return result
    out[...] = result
    return out


def blocks_of(size: int, threads: int = THREADS) -> int:
    """Blocks for a thread an element."""
    return -(-size // threads)


def whole_warps(threads: int) -> int:
    """At least so many threads, in whole warps."""
    return blocks_of(threads, WARP) * WARP


def threads_for(columns: int) -> int:
    """Threads of a block that has a row of this many numbers."""
    return min(MOST_FOR_A_ROW, whole_warps(columns))


def column_grid(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block for sums over the rows: a strip of 32 columns a block, the rows in parts that are added later."""
    parts = min(MOST_PARTS, max(1, blocks_of(rows, 4 * COLUMN_WARPS)))
    return (blocks_of(columns, WARP), parts), (WARP, COLUMN_WARPS)


def elements(program: Program, kernel: str, arrays: tuple[Any, ...], out: Any, *settings: Any) -> Any:
    """Run kernel(*arrays, result, size, *settings), one thread an element, and return the result."""
    result = room_for(out, arrays[-1])
    program.launch(kernel, blocks_of(result.size), THREADS, *map(contiguous, arrays), result, result.size, *settings)
    return deliver(result, out)
