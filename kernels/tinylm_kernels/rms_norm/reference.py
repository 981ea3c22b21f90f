"""Root mean square normalisation over the last axis."""

from ..arrays import array_module, check_out, check_same_shape, check_shape
from ..registry import Kernel


@Kernel
def rms_norm(x, weight, *, eps=1e-5, out=None):
    """y = x / sqrt(mean x^2 + eps) * weight, over the last axis: layer normalisation without its mean and bias.

    x: (..., C) float; weight: (C,). Returns (y, rstd): y (..., C); rstd = 1 / sqrt(mean x^2 + eps), (...,), is what the
    backward needs.
    Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.
    """
    xp = array_module(x)
    rstd = 1 / xp.sqrt((x * x).mean(axis=-1) + x.dtype.type(eps))
    y = xp.multiply(x, rstd[..., None], out=out)
    y *= weight
    return y, rstd


@rms_norm.check
def _(x, weight, *, eps=1e-5, out=None):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"rms_norm: x has shape {x.shape}, expected at least one column")
    check_shape("rms_norm", "weight", weight, x.shape[-1:])
    check_out("rms_norm", out, x.shape, x.dtype)


@Kernel
def rms_norm_backward(dy, x, weight, rstd, *, out=None):
    """Returns (dx, dweight), shapes (..., C), (C,).

    With n = x rstd and d = dy weight:  dx = rstd (d - n mean(d n)),  dweight = sum of dy n over the rows.  `out`
    receives dx.
    """
    xp = array_module(x)
    normed = x * rstd[..., None]
    d = dy * weight
    dx = xp.subtract(d, normed * (d * normed).mean(axis=-1, keepdims=True), out=out)
    dx *= rstd[..., None]
    return dx, (dy * normed).sum(axis=tuple(range(x.ndim - 1)))


@rms_norm_backward.check
def _(dy, x, weight, rstd, *, out=None):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"rms_norm_backward: x has shape {x.shape}, expected at least one column")
    check_same_shape("rms_norm_backward", "dy", dy, "x", x)
    check_shape("rms_norm_backward", "weight", weight, x.shape[-1:])
    check_shape("rms_norm_backward", "rstd", rstd, x.shape[:-1])
    check_out("rms_norm_backward", out, x.shape, x.dtype)
