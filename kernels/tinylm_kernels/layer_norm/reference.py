"""Layer normalisation over the last axis."""

from ..arrays import array_module, check_out, check_same_shape, check_shape
from ..registry import Kernel


@Kernel
def layer_norm(x, weight, bias, *, eps=1e-5, out=None):
    """y = (x - mean x) / sqrt(var x + eps) * weight + bias, over the last axis, with the biased variance.

    x: (..., C) float; weight, bias: (C,). Returns (y, mean, rstd): y (..., C); mean and rstd = 1 / sqrt(var + eps),
    both (...,), are what the backward needs.
    Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450, eq. 4.
    """
    xp = array_module(x)
    mean = x.mean(axis=-1)
    y = xp.subtract(x, mean[..., None], out=out)
    rstd = 1 / xp.sqrt((y * y).mean(axis=-1) + x.dtype.type(eps))
    y *= rstd[..., None]
    y *= weight
    y += bias
    return y, mean, rstd


@layer_norm.check
def _(x, weight, bias, *, eps=1e-5, out=None):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"layer_norm: x has shape {x.shape}, expected at least one column")
    check_shape("layer_norm", "weight", weight, x.shape[-1:])
    check_shape("layer_norm", "bias", bias, x.shape[-1:])
    check_out("layer_norm", out, x.shape, x.dtype)


@Kernel
def layer_norm_backward(dy, x, weight, mean, rstd, *, out=None):
    """Returns (dx, dweight, dbias), shapes (..., C), (C,), (C,).

    With n = (x - mean) rstd and d = dy weight:  dx = rstd (d - mean(d) - n mean(d n)),  dweight = sum of dy n over
    the rows,  dbias = sum of dy over the rows.  `out` receives dx.
    """
    xp = array_module(x)
    normed = (x - mean[..., None]) * rstd[..., None]
    d = dy * weight
    dx = xp.subtract(d, d.mean(axis=-1, keepdims=True), out=out)
    dx -= normed * (d * normed).mean(axis=-1, keepdims=True)
    dx *= rstd[..., None]
    rows = tuple(range(x.ndim - 1))
    return dx, (dy * normed).sum(axis=rows), dy.sum(axis=rows)


@layer_norm_backward.check
def _(dy, x, weight, mean, rstd, *, out=None):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"layer_norm_backward: x has shape {x.shape}, expected at least one column")
    check_same_shape("layer_norm_backward", "dy", dy, "x", x)
    check_shape("layer_norm_backward", "weight", weight, x.shape[-1:])
    check_shape("layer_norm_backward", "mean", mean, x.shape[:-1])
    check_shape("layer_norm_backward", "rstd", rstd, x.shape[:-1])
    check_out("layer_norm_backward", out, x.shape, x.dtype)
