"""The linear layer: a matrix product with its bias and, where asked, the residual that follows it."""

import numpy as np

from ..arrays import array_module, check_out, check_shape
from ..packed import Packed
from ..packed.base import AT_ONCE
from ..registry import Kernel


@Kernel
def linear(x, weight, bias=None, residual=None, *, out=None):
    """y = x W^T + b + r.

    x: (..., I) float; weight: (O, I), any strides, or packed; bias: (O,) or None; residual: (..., O) or None.
    Returns (..., O). `out` may be the residual itself. Implementations may round x where they multiply integer codes
    of packed weights: each 32 numbers of a row to the nearest multiples of their largest magnitude / 127.
    Source: Dettmers et al. 2022, arXiv:2208.07339, section 2.1 (rounding by the largest magnitude).
    """
    if isinstance(weight, Packed):
        return _packed_product(x, weight, bias, residual, out)
    if out is not None and residual is not None and np.shares_memory(out, residual):
        return _add_bias(out.__iadd__(_product(x, weight.T, None)), bias)
    y = _product(x, weight.T, out)
    if residual is not None:
        y += residual
    return _add_bias(y, bias)


def _packed_product(x, weight, bias, residual, out):
    """The same with rows of weights unpacked some at a time, so that they never take memory all at once."""
    y = np.empty((*x.shape[:-1], weight.shape[0]), x.dtype)
    rows = max(AT_ONCE // weight.shape[1], 1)
    for first in range(0, weight.shape[0], rows):
        part = weight.take_rows(slice(first, first + rows)).dequantize()
        y[..., first : first + rows] = _product(x, part.T, None)
    if residual is not None:
        y += residual
    _add_bias(y, bias)
    if out is None:
        return y
    out[...] = y
    return out


def _product(x, matrix, out):
    """x @ matrix as one product: given (B, T, I), matmul would make B small ones."""
    xp = array_module(x)
    rows, shape = x.reshape(-1, x.shape[-1]), (*x.shape[:-1], matrix.shape[1])
    if out is None:
        return xp.matmul(rows, matrix).reshape(shape)
    if out.flags.c_contiguous:
        xp.matmul(rows, matrix, out=out.reshape(-1, shape[-1]))
    else:
        out[...] = xp.matmul(rows, matrix).reshape(shape)
    return out


def _add_bias(y, bias):
    if bias is not None:
        y += bias
    return y


@linear.check
def _(x, weight, bias=None, residual=None, *, out=None):
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x has shape {x.shape} and weight {weight.shape}, expected (..., I) and (O, I) with the same I"
        )
    if bias is not None:
        check_shape("linear", "bias", bias, (weight.shape[0],))
    if residual is not None:
        check_shape("linear", "residual", residual, (*x.shape[:-1], weight.shape[0]))
    if out is not None:
        check_out("linear", out, (*x.shape[:-1], weight.shape[0]), x.dtype)


@Kernel
def linear_backward_input(dy, weight, *, out=None):
    """dx = dy W. dy: (..., O); weight: (O, I). Returns (..., I)."""
    return _product(dy, weight, out)


@linear_backward_input.check
def _(dy, weight, *, out=None):
    check_shape("linear_backward_input", "weight", weight, (None, None))
    check_shape("linear_backward_input", "dy", dy, (*dy.shape[:-1], weight.shape[0]))
    check_out("linear_backward_input", out, (*dy.shape[:-1], weight.shape[1]), dy.dtype)


@Kernel
def linear_backward_weight(dy, x, *, out=None, accumulate=False):
    """dW = sum over rows n of dy[n] x[n]^T. dy: (..., O); x: (..., I). Returns (O, I).

    With accumulate the sum is added to what `out` holds, otherwise it overwrites it.
    """
    xp = array_module(dy)
    rows, inputs = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    if not accumulate:
        return xp.matmul(rows.T, inputs, out=out)
    out += rows.T @ inputs
    return out


@linear_backward_weight.check
def _(dy, x, *, out=None, accumulate=False):
    if dy.ndim == 0 or dy.ndim != x.ndim or dy.shape[:-1] != x.shape[:-1]:
        raise ValueError(
            f"linear_backward_weight: dy has shape {dy.shape} and x {x.shape}, expected (..., O) and (..., I)"
        )
    _check_accumulate("linear_backward_weight", out, accumulate)
    check_out("linear_backward_weight", out, (dy.shape[-1], x.shape[-1]), dy.dtype)


@Kernel
def linear_backward_bias(dy, *, out=None, accumulate=False):
    """db = sum over rows n of dy[n]. dy: (..., O). Returns (O,); accumulate as in `linear_backward_weight`."""
    rows = dy.reshape(-1, dy.shape[-1])
    if not accumulate:
        return rows.sum(axis=0, out=out)
    out += rows.sum(axis=0)
    return out


@linear_backward_bias.check
def _(dy, *, out=None, accumulate=False):
    if dy.ndim == 0:
        raise ValueError("linear_backward_bias: dy has no axis, expected (..., O)")
    _check_accumulate("linear_backward_bias", out, accumulate)
    check_out("linear_backward_bias", out, dy.shape[-1:], dy.dtype)


def _check_accumulate(operation, out, accumulate):
    if accumulate and out is None:
        raise ValueError(f"{operation}: accumulate adds to what out holds, received no out")
