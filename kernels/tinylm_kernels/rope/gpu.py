"""Rotary positions on the card."""

from ..cuda import NUMBERS, Program, contiguous, deliver, integers, room_for, threads_for
from .reference import rope

PROGRAM = Program(__file__, "rope.cu")


@rope.implement("cuda", device="gpu", dtypes=NUMBERS)
def rope_cuda(x, cos, sin, positions=None, *, interleaved=False, inverse=False, out=None):
    B, H, T, D = x.shape
    y, pairs = room_for(out, x), cos.shape[1]
    arrays = map(contiguous, (x, cos, sin))
    at = None if positions is None else integers(positions)
    PROGRAM.launch("rope", B * H * T, threads_for(D), *arrays, at, y, H, T, D, pairs, interleaved, inverse)
    return deliver(y, out)
