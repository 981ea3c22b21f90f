"""Arrays as kernels take them: C-contiguous, whatever their callers hold."""

from __future__ import annotations

from typing import Any

from ..arrays import array_module

__all__ = ["contiguous", "deliver", "room_for"]


def contiguous(array: Any) -> Any:
    """The array, copied only where it is not C-contiguous."""
    return array_module(array).ascontiguousarray(array)


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
