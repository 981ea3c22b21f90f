"""Softmax on the card: one block a row."""

from ..cuda import Program, contiguous, deliver, room_for
from ..cuda.program import NUMBER_TYPES
from .reference import softmax, softmax_backward

PROGRAM = Program(__file__, "softmax.cu")
# Threads a row: whole warps, each of which reads some numbers in turn.
MOST = 512


def _threads(columns):
    return min(MOST, (columns + 31) // 32 * 32)


@softmax.implement("cuda", device="gpu", dtypes=tuple(NUMBER_TYPES))
def softmax_cuda(x, *, out=None):
    x, y = contiguous(x), room_for(out, x)
    columns = x.shape[-1]
    rows = x.size // columns
    PROGRAM.launch("softmax", rows, _threads(columns), x, y, rows, columns)
    return deliver(y, out)


@softmax_backward.implement("cuda", device="gpu", dtypes=tuple(NUMBER_TYPES))
def softmax_backward_cuda(dy, y, *, out=None):
    dx = room_for(out, y)
    columns = y.shape[-1]
    rows = y.size // columns
    PROGRAM.launch("softmax_backward", rows, _threads(columns), contiguous(dy), contiguous(y), dx, rows, columns)
    return deliver(dx, out)
