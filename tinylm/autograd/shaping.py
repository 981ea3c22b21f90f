"""Differentiable functions that rearrange, select and join."""

from __future__ import annotations

import builtins

import numpy as np

from tinylm_kernels import array_module

from .elementwise import unbroadcast
from .tensor import Tensor, differentiable

__all__ = ["broadcast_to", "concatenate", "getitem", "reshape", "split", "stack", "transpose"]


@differentiable
def reshape(x, *, shape):
    """The same elements in another shape; -1 stands for the size that is left."""
    return x.reshape(shape), lambda dy: (dy.reshape(x.shape),)


@differentiable
def transpose(x, *, axes=None):
    """The axes in another order, reversed where none is given."""
    back = None if axes is None else np.argsort(axes)
    return x.transpose(axes), lambda dy: (dy.transpose(back),)


@differentiable
def broadcast_to(x, *, shape):
    """x repeated to a shape, by NumPy's rules."""
    return array_module(x).broadcast_to(x, shape), lambda dy: (unbroadcast(dy, x),)


@differentiable
def getitem(x, *, index):
    """x[index] for slices, integers, arrays of integers and masks; an element taken twice gets both gradients."""
    xp = array_module(x)
    index = _without_tensors(index)
    basic = builtins.all(i is None or i is Ellipsis or isinstance(i, (int, slice)) for i in _as_tuple(index))

    def pullback(dy):
        dx = xp.zeros_like(x)
        if basic:
            dx[index] = dy
        else:
            xp.add.at(dx, index, dy)
        return (dx,)

    return x[index], pullback


def _as_tuple(index):
    return index if isinstance(index, tuple) else (index,)


def _without_tensors(index):
    if isinstance(index, tuple):
        return tuple(i.data if isinstance(i, Tensor) else i for i in index)
    return index.data if isinstance(index, Tensor) else index


@differentiable
def _concatenate(*parts, axis):
    xp = array_module(parts[0])
    ends = np.cumsum([part.shape[axis] for part in parts])[:-1]
    return xp.concatenate(parts, axis=axis), lambda dy: tuple(xp.split(dy, ends, axis=axis))


def concatenate(tensors, axis=0):
    """The tensors of a sequence one after the other along an existing axis."""
    return _concatenate(*tensors, axis=axis)


@differentiable
def _stack(*parts, axis):
    xp = array_module(parts[0])
    return xp.stack(parts, axis=axis), lambda dy: tuple(xp.moveaxis(dy, axis, 0))


def stack(tensors, axis=0):
    """The tensors of a sequence, all of one shape, along a new axis."""
    return _stack(*tensors, axis=axis)


@differentiable
def split(x, *, sections, axis=0):
    """A tuple of parts along an axis: `sections` equal ones, or cut before each of the indices given."""
    xp = array_module(x)
    return tuple(xp.split(x, sections, axis=axis)), lambda *dy: (xp.concatenate(dy, axis=axis),)
