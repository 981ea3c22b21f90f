"""The graph of what was computed, and the reverse pass over it.

The pass visits each node after all that were computed from it, hands its gradient to its pullback, and frees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .observer import Operation

__all__ = ["Gradient", "Node", "add_to_leaf", "run_backward"]

# What a pullback returns for one input: the gradient itself, None where there is none, or a function
# `gradient(out, accumulate)` that computes it only when it is wanted, straight into `out` where that is given.
Gradient = Any


class Node:
    """One recorded operation.

    edges: for each input the place its gradient goes to: `(node, output index)` of the operation that made it, the
    Tensor itself for a leaf, None where no gradient is wanted. gradients: what has arrived for each output.
    """

    __slots__ = ("edges", "gradients", "name", "operation", "outputs", "pullback")

    def __init__(self, name: str, edges: list[Any], pullback: Callable[..., Any], outputs: tuple[np.ndarray, ...]):
        self.name, self.edges = name, edges
        self.pullback: Callable[..., Any] | None = pullback
        self.gradients: list[Any] = [None] * len(outputs)
        # Several outputs may be used in part: the shapes of the rest are needed to stand in with zeros.
        self.outputs = [(o.shape, o.dtype) for o in outputs] if len(outputs) > 1 else None
        self.operation: Operation | None = None


def run_backward(root: Node) -> None:
    """Carry the gradients in `root` to all leaves that it depends on, and free the graph on the way."""
    order = _topological_order(root)
    while order:
        node = order.pop()  # popping lets each node's arrays die as soon as they have been used
        if node.pullback is None:
            raise RuntimeError(
                f"backward: the graph through {node.name!r} was freed by an earlier backward; run the forward again"
            )
        gradients = _fill_missing(node) if node.outputs else node.gradients
        if node.operation is not None:
            node.operation.gradients = tuple(gradients)
            node.operation.observer.backward(node.operation)
        edges, pullback, name = node.edges, node.pullback, node.name
        node.edges, node.pullback, node.gradients, node.operation = [], None, [None] * len(node.gradients), None
        _hand_on(name, edges, pullback(*gradients))


def _hand_on(name: str, edges: Sequence[Any], results: Sequence[Gradient]) -> None:
    """Take each gradient to where it goes."""
    if len(results) < len(edges):
        raise TypeError(f"{name}: its pullback returned {len(results)} gradients for {len(edges)} inputs")
    for position, (edge, result) in enumerate(zip(edges, results, strict=False)):
        if edge is None:
            continue
        if result is None:
            raise TypeError(f"{name} has no gradient by its argument {position}, but one is needed")
        if isinstance(edge, tuple):
            _add_to_node(edge[0], edge[1], result)
        else:
            add_to_leaf(edge, result)


def _topological_order(root: Node) -> list[Node]:
    """The nodes that lead to `root`, each after all its inputs; depth first with a stack of our own.

    A node may pull back only once the gradients of everything computed from it have arrived: visiting in any other
    order would send on a partial sum. Recursion would fail at the depth of a long sequence.
    """
    order, seen, stack = [], {root}, [(root, iter(root.edges))]
    while stack:
        node, edges = stack[-1]
        for edge in edges:
            if isinstance(edge, tuple) and edge[0] not in seen:
                seen.add(edge[0])
                stack.append((edge[0], iter(edge[0].edges)))
                break
        else:
            order.append(node)
            stack.pop()
    return order


def _fill_missing(node: Node) -> Sequence[Any]:
    return [
        np.zeros(shape, dtype) if gradient is None else gradient
        for gradient, (shape, dtype) in zip(node.gradients, node.outputs or (), strict=True)
    ]


def _add_to_node(node: Node, index: int, gradient: Gradient) -> None:
    if callable(gradient):
        gradient = gradient(None, False)
    before = node.gradients[index]
    # Never in place: a pullback may have handed the same array to two inputs.
    node.gradients[index] = gradient if before is None else before + gradient


def add_to_leaf(leaf: Any, gradient: Gradient) -> None:
    """Add a gradient to `grad` of a leaf Tensor: in its gradient_buffer, where it has one."""
    if callable(gradient):
        if leaf.grad is None:
            leaf.grad = gradient(leaf.gradient_buffer, False)
        else:
            leaf.grad = gradient(leaf.grad, True)
        return
    if gradient.shape != leaf.shape:
        raise ValueError(f"backward: a gradient of shape {gradient.shape} arrived at a leaf of shape {leaf.shape}")
    if leaf.grad is not None:
        leaf.grad += gradient
    elif leaf.gradient_buffer is not None:
        leaf.gradient_buffer[...] = gradient
        leaf.grad = leaf.gradient_buffer
    else:
        leaf.grad = np.array(gradient, dtype=leaf.dtype)
