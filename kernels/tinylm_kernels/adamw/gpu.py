"""AdamW on the card."""

import math

from ..arrays import array_module
from ..cuda import NUMBERS, THREADS, Program, blocks_of, contiguous, deliver, room_for
from .reference import adamw, squared_norm

PROGRAM = Program(__file__, "adamw.cu")
# Blocks among which a sum is parted: enough for the multiprocessors of a card.
PARTS = 512


@adamw.implement("cuda", device="gpu", dtypes=NUMBERS)
def adamw_cuda(p, g, m, v, *, lr, beta1, beta2, eps, weight_decay, step, decoupled=True, scale=1.0, out=None):
    outs = out if out is not None else (None, None, None)
    results = [room_for(o, p) for o in outs]
    arrays = map(contiguous, (p, g, m, v))
    rate, second = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    settings = (scale, beta1, beta2, 1 - beta1, 1 - beta2, rate, second, eps, keep, decay)
    PROGRAM.launch("adamw", blocks_of(p.size), THREADS, *arrays, *results, p.size, *settings)
    return tuple(map(deliver, results, outs))


@squared_norm.implement("cuda", device="gpu", dtypes=NUMBERS)
def squared_norm_cuda(x):
    grid = min(blocks_of(x.size), PARTS)
    sums = array_module(x).zeros(max(grid, 1), "float64")
    PROGRAM.launch("squared_norm", grid, THREADS, contiguous(x), sums, x.size)
    return float(sums.sum())
