"""Steps that follow each other, each cut into parts that any thread may take.

A recurrence over one row has too little work in a step for a launch of the threads at each. Here they are launched
once, and meet in memory: a thread claims parts of the step, does them, counts them as done, and begins with the next
step when all parts of this one are done. No thread waits for a part that nobody works on, so that it does not
matter how many threads there are, nor whether they run at the same time; and parts do not depend on threads, so that
any number of them gives the same bits. A thread begins with parts of its own, whose weights are in its cache.
"""

from __future__ import annotations

import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import jit
from .vectors import I64, LINE, pointer_to

__all__ = ["claim", "finish", "relay_size", "wait_for_step"]

# Tells the processor that this loop waits, which leaves more to the other thread of a shared core.
PAUSE = "llvm.x86.sse2.pause" if platform.machine() in ("x86_64", "AMD64") else None


@intrinsic
def _exchange(typingctx, address, expected, value):
    """Write `value` if the integer there is `expected`, in one operation that no other thread can divide; whether."""

    def codegen(context, builder, sig, args):
        address, expected, value = args
        result = builder.cmpxchg(pointer_to(builder, address, I64), expected, value, "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


@intrinsic
def _add(typingctx, address, number):
    """Add to an integer; whoever sees it sees all that this thread has written before."""

    def codegen(context, builder, sig, args):
        builder.atomic_rmw("add", pointer_to(builder, args[0], I64), args[1], "acq_rel")
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def _look(typingctx, address):
    """An integer that other threads change; what was written before they did is seen after."""

    def codegen(context, builder, sig, args):
        if PAUSE:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.globals.get(PAUSE) or ir.Function(builder.module, kind, PAUSE), [])
        return builder.load_atomic(pointer_to(builder, args[0], I64), "acquire", 8)

    return types.int64(types.int64), codegen


@jit
def relay_size(parts):
    """The size of the array of zeros (int64) in which threads meet, of so many parts a step.

    It is used from its first whole cache line on: there the number of parts that are done, then a line for each part.
    """
    return (parts + 2) * (LINE // 8)


@jit
def wait_for_step(relay, parts, step):
    """Until all parts of the steps before this one are done."""
    while _look(relay) < step * parts:
        pass


@jit
def claim(relay, part, step):
    """Whether this thread shall do the part; no other does then."""
    return _exchange(relay + (part + 1) * LINE, np.int64(step), np.int64(step + 1))


@jit
def finish(relay, parts):
    """So many claimed parts are done."""
    _add(relay, parts)
