"""Root mean square normalisation on the card."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, column_grid, contiguous, deliver, room_for, threads_for
from .reference import rms_norm, rms_norm_backward

PROGRAM = Program(__file__, "rms_norm.cu")


@rms_norm.implement("cuda", device="gpu", dtypes=NUMBERS)
def rms_norm_cuda(x, weight, *, eps=1e-5, out=None):
    columns = x.shape[-1]
    y, rstd = room_for(out, x), array_module(x).empty(x.shape[:-1], x.dtype)
    arrays = map(contiguous, (x, weight))
    PROGRAM.launch("rms_norm", rstd.size, threads_for(columns), *arrays, y, rstd, columns, eps)
    return deliver(y, out), rstd


@rms_norm_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def rms_norm_backward_cuda(dy, x, weight, rstd, *, out=None):
    rows, columns = rstd.size, x.shape[-1]
    dx = room_for(out, x)
    dy, x, weight, rstd = map(contiguous, (dy, x, weight, rstd))
    PROGRAM.launch("rms_norm_backward", rows, threads_for(columns), dy, x, weight, rstd, dx, columns)
    grid, block = column_grid(rows, columns)
    parts = array_module(x).zeros((grid[1], columns), "float32")
    PROGRAM.launch("rms_norm_backward_columns", grid, block, dy, x, rstd, parts, rows, columns)
    return deliver(dx, out), parts.sum(axis=0).astype(x.dtype)
