"""SiLU and SwiGLU on the card."""

from ..cuda import NUMBERS, THREADS, Program, blocks_of, contiguous, deliver, elements, room_for
from .reference import silu, silu_backward, swiglu, swiglu_backward

PROGRAM = Program(__file__, "swiglu.cu")


@silu.implement("cuda", device="gpu", dtypes=NUMBERS)
def silu_cuda(x, *, out=None):
    return elements(PROGRAM, "silu", (x,), out)


@silu_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def silu_backward_cuda(dy, x, *, out=None):
    return elements(PROGRAM, "silu_backward", (dy, x), out)


@swiglu.implement("cuda", device="gpu", dtypes=NUMBERS)
def swiglu_cuda(gate, up, *, out=None):
    return elements(PROGRAM, "swiglu", (gate, up), out)


@swiglu_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def swiglu_backward_cuda(dy, gate, up, *, out=None):
    outs = out if out is not None else (None, None)
    dgate, dup = (room_for(o, gate) for o in outs)
    arrays = map(contiguous, (dy, gate, up))
    PROGRAM.launch("swiglu_backward", blocks_of(gate.size), THREADS, *arrays, dgate, dup, gate.size)
    return deliver(dgate, outs[0]), deliver(dup, outs[1])
