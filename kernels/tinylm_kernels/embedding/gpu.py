"""Embedding on the card."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, contiguous, deliver, integers, threads_for
from .reference import embedding, embedding_backward

PROGRAM = Program(__file__, "embedding.cu")


@embedding.implement("cuda", device="gpu", dtypes=NUMBERS)
def embedding_cuda(table, ids, *, out=None):
    columns = table.shape[1]
    usable = out is not None and out.flags.c_contiguous
    y = out if usable else array_module(table).empty((*ids.shape, columns), table.dtype)
    PROGRAM.launch("embedding", ids.size, threads_for(columns), contiguous(table), integers(ids), y, columns)
    return deliver(y, out)


@embedding_backward.implement("cuda", device="gpu", dtypes=NUMBERS)
def embedding_backward_cuda(dy, ids, *, rows, out=None, accumulate=False):
    xp, columns = array_module(dy), dy.shape[-1]
    start = contiguous(out) if accumulate else xp.zeros((rows, columns), dy.dtype)
    ids = integers(ids).reshape(-1)
    order = xp.argsort(ids, kind="stable")
    arrays = (contiguous(dy), ids, order, start)
    PROGRAM.launch("embedding_backward", ids.size, threads_for(columns), *arrays, ids.size, columns)
    return deliver(start, out)
