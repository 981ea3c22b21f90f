"""Dropout on the card: the masks of the CPU."""

from ..cuda import NUMBERS, THREADS, Program, blocks_of, contiguous, deliver, room_for
from .reference import dropout, threshold

PROGRAM = Program(__file__, "dropout.cu")


@dropout.implement("cuda", device="gpu", dtypes=NUMBERS)
def dropout_cuda(x, *, rate, seed, step, site, first_row=0, out=None):
    y, rows = room_for(out, x), x.shape[0]
    columns = x.size // rows if rows else 0
    grid = blocks_of(rows * ((columns + 3) // 4))
    settings = (first_row, site, step, seed, threshold(rate), 1 / (1 - rate))
    PROGRAM.launch("dropout", grid, THREADS, contiguous(x), y, rows, columns, *settings)
    return deliver(y, out)
