"""Softmax on the card."""

from ..cuda import NUMBERS, Program, contiguous, deliver, room_for, threads_for
from .reference import softmax, softmax_backward

PROGRAM = Program(__file__, "softmax.cu")


@softmax.implement("cuda", device="gpu", dtypes=NUMBERS)
def softmax_cuda(x, *, out=None):
    y, columns = room_for(out, x), x.shape[-1]
    PROGRAM.launch("softmax", x.size // columns, threads_for(columns), contiguous(x), y, columns)
    return deliver(y, out)


@softmax_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def softmax_backward_cuda(dy, y, *, out=None):
    dx, columns = room_for(out, y), y.shape[-1]
    arrays = map(contiguous, (dy, y))
    PROGRAM.launch("softmax_backward", y.size // columns, threads_for(columns), *arrays, dx, columns)
    return deliver(dx, out)
