"""Softmax along the last axis."""

from ..arrays import array_module, check_out, check_same_shape
from ..registry import Kernel


@Kernel
def softmax(x, *, out=None):
    """y = exp(x - max x) / sum exp(x - max x), along the last axis.

    x: (..., C) float; a row may hold -inf (masked). Returns (..., C) in the same dtype: rows sum to 1, a fully
    masked row is all zeros, a row with a NaN is all NaN.
    """
    xp = array_module(x)
    peak = x.max(axis=-1, keepdims=True)
    peak = xp.where(peak == -xp.inf, 0, peak)  # a fully masked row: exp(-inf - 0) = 0 instead of NaN
    y = xp.subtract(x, peak, out=out)
    xp.exp(y, out=y)
    total = y.sum(axis=-1, keepdims=True)
    y /= xp.where(total == 0, 1, total)
    return y


@softmax.check
def _(x, *, out=None):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"softmax: x has shape {x.shape}, expected at least one column")
    check_out("softmax", out, x.shape, x.dtype)


@Kernel
def softmax_backward(dy, y, *, out=None):
    """dx = y * (dy - sum(dy * y)), along the last axis.

    dy: the gradient of the loss by y; y: what `softmax` returned; both (..., C). Returns dx, (..., C).
    """
    xp = array_module(y)
    dx = xp.subtract(dy, (dy * y).sum(axis=-1, keepdims=True), out=out)
    dx *= y
    return dx


@softmax_backward.check
def _(dy, y, *, out=None):
    check_same_shape("softmax_backward", "dy", dy, "y", y)
    check_out("softmax_backward", out, y.shape, y.dtype)
