"""Rotary position embedding: pairs of columns are turned by angles that grow with the position."""

from ..arrays import array_module, check_out, check_shape
from ..pool import empty_like
from ..registry import Kernel


@Kernel
def rope(x, cos, sin, positions=None, *, interleaved=False, inverse=False, out=None):
    """Each pair (a, b) of columns becomes (a cos - b sin, b cos + a sin), by the cosine and sine of its position.

    x: (B, H, T, D) float, any strides. cos, sin: (P, R / 2), a row for each position and a column for each pair; the
    first R columns of x are turned, the others stay. positions: (B, T) integers in 0..P-1; by default 0..T-1 for
    every row. Pair i is made of columns i and i + R / 2, as in Llama, or, interleaved, of 2 i and 2 i + 1, as in the
    paper. inverse turns the other way, which gives the gradient by x of that by y. Returns (B, H, T, D).
    Whoever makes the tables decides on base and scaling; angles p base^(-2 i / R) are the paper's, with base 10000.
    Source: Su et al. 2021, arXiv:2104.09864, eq. 34.
    """
    T, half = x.shape[2], cos.shape[1]
    c, s = (cos[:T], sin[:T]) if positions is None else (cos[positions][:, None], sin[positions][:, None])
    s = -s if inverse else s
    y = out if out is not None else empty_like(x)
    (a, b), (turned_a, turned_b) = (_pairs(array, half, interleaved) for array in (x, y))
    xp = array_module(x)
    xp.subtract(a * c, b * s, out=turned_a)
    xp.add(b * c, a * s, out=turned_b)
    y[..., 2 * half :] = x[..., 2 * half :]
    return y


@rope.check
def _(x, cos, sin, positions=None, *, interleaved=False, inverse=False, out=None):
    if x.ndim != 4:
        raise ValueError(f"rope: x has shape {x.shape}, expected (B, H, T, D)")
    B, _, T, D = x.shape
    check_shape("rope", "cos", cos, (None, None))
    check_shape("rope", "sin", sin, cos.shape)
    P, half = cos.shape
    if 2 * half > D:
        raise ValueError(f"rope: cos has {half} columns, one for a pair of x's, which has only {D} columns")
    if positions is None:
        if T > P:
            raise ValueError(f"rope: x has {T} positions but cos only {P}")
    else:
        check_shape("rope", "positions", positions, (B, T))
        _check_positions(positions, P)
    check_out("rope", out, x.shape, x.dtype)


def _check_positions(positions, P):
    if positions.dtype.kind not in "iu":
        raise TypeError(f"rope: positions has dtype {positions.dtype}, expected integers")
    if positions.size and (positions.min() < 0 or positions.max() >= P):
        wrong = int(positions[(positions < 0) | (positions >= P)][0])
        raise ValueError(f"rope: position {wrong} is outside the table of {P} rows")


def _pairs(x, half, interleaved):
    """Views of the first and of the second columns of all pairs."""
    if interleaved:
        return x[..., 0 : 2 * half : 2], x[..., 1 : 2 * half : 2]
    return x[..., :half], x[..., half : 2 * half]
