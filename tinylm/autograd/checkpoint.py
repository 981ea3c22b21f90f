"""Gradient checkpointing: memory for time."""

from __future__ import annotations

from collections.abc import Callable

from .tensor import Tensor, differentiable, no_grad

__all__ = ["checkpoint"]


@differentiable
def _recomputed(*inputs, function):
    with no_grad():
        y = function(*(Tensor(x) for x in inputs))

    def pullback(dy):
        again = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
        function(*again).backward(dy)  # adds to the gradients of the parameters on its way
        return tuple(x.grad for x in again)

    return y.data, pullback


def checkpoint(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs), computed again in the backward pass instead of keeping what lies in between.

    Only the inputs stay in memory. function: Tensors to one Tensor, pure (dropout is: its masks depend on the step
    and the row alone). At least one input must need a gradient. Source: Chen et al. 2016, arXiv:1604.06174.
    """
    return _recomputed(*inputs, function=function)
