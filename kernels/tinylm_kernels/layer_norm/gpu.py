"""Layer normalisation on the card."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, column_grid, contiguous, deliver, room_for, threads_for
from .reference import layer_norm, layer_norm_backward

PROGRAM = Program(__file__, "layer_norm.cu")


@layer_norm.implement("cuda", device="gpu", dtypes=NUMBERS)
def layer_norm_cuda(x, weight, bias, *, eps=1e-5, out=None):
    xp, columns = array_module(x), x.shape[-1]
    y = room_for(out, x)
    mean, rstd = (xp.empty(x.shape[:-1], x.dtype) for _ in range(2))
    arrays = map(contiguous, (x, weight, bias))
    PROGRAM.launch("layer_norm", mean.size, threads_for(columns), *arrays, y, mean, rstd, columns, eps)
    return deliver(y, out), mean, rstd


@layer_norm_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def layer_norm_backward_cuda(dy, x, weight, mean, rstd, *, out=None):
    xp, (rows, columns) = array_module(x), (mean.size, x.shape[-1])
    dx = room_for(out, x)
    dy, x, weight, mean, rstd = map(contiguous, (dy, x, weight, mean, rstd))
    PROGRAM.launch("layer_norm_backward", rows, threads_for(columns), dy, x, weight, mean, rstd, dx, columns)
    grid, block = column_grid(rows, columns)
    parts = xp.zeros((2, grid[1], columns), "float32")
    PROGRAM.launch("layer_norm_backward_columns", grid, block, dy, x, mean, rstd, *parts, rows, columns)
    dweight, dbias = parts.sum(axis=1).astype(x.dtype)
    return deliver(dx, out), dweight, dbias
