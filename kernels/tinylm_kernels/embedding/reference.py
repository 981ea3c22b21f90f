"""Look-up of rows by id, and the scatter-add that is its gradient."""

from ..arrays import array_module, check_out, check_shape
from ..registry import Kernel


@Kernel
def embedding(table, ids, *, out=None):
    """y[...] = table[ids[...]]. table: (V, C) float; ids: integers in 0..V-1, any shape. Returns (*ids.shape, C)."""
    return array_module(table).take(table, ids, axis=0, out=out, mode="raise" if out is None else "clip")


@embedding.check
def _(table, ids, *, out=None):
    if table.ndim != 2:
        raise ValueError(f"embedding: table has shape {table.shape}, expected (V, C)")
    _check_ids("embedding", ids, table.shape[0])
    check_out("embedding", out, (*ids.shape, table.shape[1]), table.dtype)


@Kernel
def embedding_backward(dy, ids, *, rows, out=None, accumulate=False):
    """dtable[v] = sum of dy[n] over the positions n with ids[n] = v.

    dy: (..., C); ids: (...), integers in 0..rows-1. Returns (rows, C); with accumulate the sums are added to what
    `out` holds, otherwise they overwrite it.
    """
    xp = array_module(dy)
    if out is None:
        out = xp.zeros((rows, dy.shape[-1]), dy.dtype)
    elif not accumulate:
        out[...] = 0
    xp.add.at(out, ids.reshape(-1), dy.reshape(-1, dy.shape[-1]))
    return out


@embedding_backward.check
def _(dy, ids, *, rows, out=None, accumulate=False):
    if dy.ndim == 0:
        raise ValueError("embedding_backward: dy has no axis, expected (..., C)")
    check_shape("embedding_backward", "dy", dy, (*ids.shape, dy.shape[-1]))
    _check_ids("embedding_backward", ids, rows)
    check_out("embedding_backward", out, (rows, dy.shape[-1]), dy.dtype)


def _check_ids(operation, ids, rows):
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{operation}: ids has dtype {ids.dtype}, expected integers")
    if ids.size and (ids.min() < 0 or ids.max() >= rows):
        wrong = ids[(ids < 0) | (ids >= rows)].flat[0]
        raise ValueError(f"{operation}: id {wrong} is outside the table of {rows} rows")
