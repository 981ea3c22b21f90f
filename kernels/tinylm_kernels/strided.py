"""Views into larger arrays, for kernels that work on them where they lie: one flat array, and a step for each axis.

Numba compiles a function anew for every layout of an array, and vectorises only loops over what it knows to be
contiguous. Handed over like this, the halves or heads of a fused projection need neither a copy nor a second kernel.
"""

from __future__ import annotations

import numpy as np

from .pool import empty

__all__ = ["flat_and_steps", "in_rows", "room_in_rows", "rows_of"]


def lies_in_rows(x: np.ndarray) -> bool:
    """Whether compiled code can work on `x` where it lies: writeable and aligned, its last axis contiguous."""
    flags = x.flags
    return flags.carray or (flags.behaved and x.strides[-1] == x.itemsize and min(x.strides) >= 0)


def flat_and_steps(x: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """The memory of `x`, or of a copy where `x` does not lie in rows, and the step of each axis, in elements."""
    if not lies_in_rows(x):
        x = np.array(x, order="C")
    steps = tuple([stride // x.itemsize for stride in x.strides])
    if x.flags.c_contiguous:
        return x.reshape(-1), steps
    length = 1 + sum([(size - 1) * step for size, step in zip(x.shape, steps, strict=True)]) if x.size else 0
    return np.lib.stride_tricks.as_strided(x, (length,), (x.itemsize,)), steps


def rows_of(x: np.ndarray) -> np.ndarray:
    """x as (N, C), a view where its rows are evenly spaced."""
    columns = x.shape[-1]
    return x.reshape(x.size // max(columns, 1), columns)


def in_rows(x: np.ndarray) -> np.ndarray:
    """`rows_of` x where compiled code can work on them, else of a copy."""
    rows = x if x.ndim == 2 else rows_of(x)
    return rows if lies_in_rows(rows) else np.array(rows, order="C")


def room_in_rows(out: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array of this shape to write a result to: `out` where it lies in rows, else a new one."""
    return out if out is not None and lies_in_rows(out) else empty(shape)
