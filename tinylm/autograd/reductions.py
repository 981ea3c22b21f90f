"""Differentiable reductions over one axis, several, or all."""

from __future__ import annotations

from tinylm_kernels import array_module

from .tensor import differentiable

__all__ = ["max", "mean", "min", "sum"]


@differentiable
def sum(x, *, axis=None, keepdims=False):
    """The sum over an axis or axes."""
    xp = array_module(x)
    y = xp.asarray(x.sum(axis=axis, keepdims=keepdims))
    return y, lambda dy: (xp.broadcast_to(_with_axes(dy, x, axis), x.shape),)


@differentiable
def mean(x, *, axis=None, keepdims=False):
    """The mean over an axis or axes."""
    xp = array_module(x)
    y = xp.asarray(x.mean(axis=axis, keepdims=keepdims))
    share = x.dtype.type(y.size / x.size) if x.size else 0
    return y, lambda dy: (xp.broadcast_to(_with_axes(dy * share, x, axis), x.shape),)


@differentiable
def max(x, *, axis=None, keepdims=False):
    """The largest element over an axis or axes; where several are the largest, they share the gradient."""
    return _extreme(x, x.max(axis=axis, keepdims=True), axis, keepdims)


@differentiable
def min(x, *, axis=None, keepdims=False):
    """The smallest element over an axis or axes; where several are the smallest, they share the gradient."""
    return _extreme(x, x.min(axis=axis, keepdims=True), axis, keepdims)


def _extreme(x, peak, axis, keepdims):
    xp = array_module(x)
    y = peak if keepdims else peak.squeeze(axis=axis)

    def pullback(dy):
        hit = x == peak
        return (_with_axes(dy, x, axis) * (hit / hit.sum(axis=axis, keepdims=True)).astype(x.dtype),)

    return xp.asarray(y), pullback


def _with_axes(dy, x, axis):
    """dy with the reduced axes back, of size 1."""
    axes = range(x.ndim) if axis is None else [a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)]
    return dy.reshape([1 if a in axes else size for a, size in enumerate(x.shape)])
