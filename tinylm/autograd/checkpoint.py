"""Gradient checkpointing: memory for time."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tinylm_kernels import array_module

from .graph import Node, run_backward
from .observer import Observer, Operation, current_observer, observe
from .tensor import Tensor, differentiable, edge, no_grad

__all__ = ["checkpoint"]


def checkpoint(function: Callable[..., Any], *inputs: Any) -> Any:
    """function(*inputs), computed again in the backward pass instead of keeping what lies in between.

    Only the inputs stay in memory; values and gradients are the same to the bit. function: Tensors, and whatever else
    it takes, to a Tensor or a tuple of them; it must do the same when it runs again (dropout does: its masks depend on
    the step and the row alone). An observer sees each operation once, forward and then backward, where the gradients
    come with an `Operation` of their own. Source: Chen et al. 2016, arXiv:1604.06174.
    """
    wanted = [x.requires_grad if isinstance(x, Tensor) else None for x in inputs]
    if not any(wanted):  # no gradient would ever pass here, and those of the function's parameters would be lost
        return function(*inputs)
    return _checkpoint(*inputs, function=function, wanted=wanted)


@differentiable
def _checkpoint(*inputs: Any, function: Callable[..., Any], wanted: list[bool | None]) -> Any:
    """wanted: for each input whether its gradient is; None for what is no Tensor."""
    context = copy_context()  # the place in the model, the masks of dropout, forced implementations, the observer

    def run() -> tuple[list[Any], Any]:
        leaves = [x if want is None else Tensor(x, want) for x, want in zip(inputs, wanted, strict=True)]
        return leaves, function(*leaves)

    def run_again() -> tuple[list[Any], Any]:
        observer = current_observer()
        if observer is None:
            return run()
        with observe(_SeenBefore(observer)):
            return run()

    def pullback(*gradients: Any) -> tuple[Any, ...]:
        leaves, result = context.run(run_again)
        outputs = result if isinstance(result, tuple) else (result,)
        root = Node("checkpoint", [edge(y) for y in outputs], lambda _: gradients, (outputs[0].data,))
        run_backward(root)  # adds to the gradients of the parameters on its way
        return tuple(_gradient(leaf) if want else None for leaf, want in zip(leaves, wanted, strict=True))

    with no_grad():
        _, result = run()
    return tuple(y.data for y in result) if isinstance(result, tuple) else result.data, pullback


def _gradient(leaf: Tensor) -> Any:
    return array_module(leaf.data).zeros_like(leaf.data) if leaf.grad is None else leaf.grad


class _SeenBefore(Observer):
    """Passes on the gradients of operations that `observer` has seen going forward."""

    def __init__(self, observer: Observer):
        self._observer = observer

    def backward(self, operation: Operation) -> None:
        self._observer.backward(operation)
