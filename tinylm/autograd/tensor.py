"""Tensor: an array that remembers how it was computed, and the reverse pass over that memory.

A differentiable function takes arrays and returns its value with a *pullback*: the function that turns the gradient
by its output into the gradients by its inputs. Each call adds a `Node` to a graph; `backward` walks the graph
from the loss to the leaves, each node after all that depend on it, and frees it on the way.
First-order gradients only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .observer import Operation, current_observer, current_path

__all__ = ["Gradient", "Node", "Parameter", "Tensor", "differentiable", "no_grad"]

# What a pullback returns for one input: the gradient itself, None where there is none, or a function
# `gradient(out, accumulate)` that computes it only when it is wanted, straight into `out` where that is given.
Gradient = Any

_grad_enabled: ContextVar[bool] = ContextVar("gradients are recorded", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Within the block no graph is recorded: results need no gradient and keep no intermediate array alive."""
    token = _grad_enabled.set(False)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


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


class Tensor:
    """An array and, where a gradient is wanted, the operation that made it.

    data: an array, kept as it is, or numbers, which become float32. requires_grad: whether `backward` shall fill
    `grad`; only floating data has gradients. Raises TypeError for anything that is not an array of numbers.
    """

    __slots__ = ("__weakref__", "data", "grad", "gradient_buffer", "index", "node", "requires_grad")
    __array_ufunc__ = None  # array * tensor is the tensor's business

    def __init__(self, data: Any, requires_grad: bool = False):
        if isinstance(data, Tensor):
            data = data.data
        if not hasattr(data, "dtype"):
            data = np.asarray(data)
            if data.dtype == np.float64:
                data = data.astype(np.float32)
        if data.dtype.kind not in "fiub":
            raise TypeError(f"Tensor: expected numbers, received {type(data).__name__} of dtype {data.dtype}")
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"Tensor: only floating numbers have gradients, received dtype {data.dtype}")
        self.data: Any = data
        self.requires_grad = requires_grad
        self.grad: Any = None
        self.gradient_buffer: Any = None  # where an optimizer wants the gradient written
        self.node: Node | None = None
        self.index = 0

    def backward(self, gradient: Any = None) -> None:
        """Add the gradients of this tensor to `grad` of every leaf it depends on, and free the graph.

        gradient: the gradient by this tensor, of its shape; 1 where this tensor is a single number. Raises ValueError
        for another shape, RuntimeError where no graph leads here or an earlier call has freed it.
        """
        if gradient is None:
            if self.data.size != 1:
                raise ValueError(f"backward: a tensor of shape {self.shape} needs a gradient of that shape")
            gradient = np.ones(self.shape, self.dtype)
        gradient = np.asarray(gradient, dtype=self.dtype) if isinstance(gradient, (int, float)) else gradient
        if gradient.shape != self.shape:
            raise ValueError(f"backward: the gradient has shape {gradient.shape}, the tensor {self.shape}")
        if not self.requires_grad:
            raise RuntimeError(
                "backward: this tensor depends on nothing with requires_grad=True, or it was made under no_grad"
            )
        if self.node is None:
            _add_to_leaf(self, gradient)
            return
        self.node.gradients[self.index] = gradient
        _run_backward(self.node)

    def detach(self) -> Tensor:
        """The same array, cut off from the graph."""
        return Tensor(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """The single number this tensor holds."""
        return self.data.item()

    def __repr__(self) -> str:
        made_by = f", made by {self.node.name}" if self.node else ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(np.asarray(self.data), precision=4, threshold=20)}{made_by})"

    def __len__(self) -> int:
        return len(self.data)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    # Operators and methods: each is the function of the same name in `functional`.

    def __add__(self, other: Any) -> Tensor:
        return functional.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return functional.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return functional.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return functional.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return functional.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return functional.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return functional.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return functional.divide(other, self)

    def __pow__(self, exponent: float) -> Tensor:
        return functional.power(self, exponent=exponent)

    def __neg__(self) -> Tensor:
        return functional.negative(self)

    def __matmul__(self, other: Any) -> Tensor:
        return functional.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return functional.matmul(other, self)

    def __getitem__(self, index: Any) -> Tensor:
        return functional.getitem(self, index=index)

    def __gt__(self, other: Any) -> np.ndarray:
        return self.data > _array(other)

    def __ge__(self, other: Any) -> np.ndarray:
        return self.data >= _array(other)

    def __lt__(self, other: Any) -> np.ndarray:
        return self.data < _array(other)

    def __le__(self, other: Any) -> np.ndarray:
        return self.data <= _array(other)

    def reshape(self, *shape: Any) -> Tensor:
        return functional.reshape(self, shape=shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: int) -> Tensor:
        return functional.transpose(self, axes=axes or None)

    @property
    def T(self) -> Tensor:
        return functional.transpose(self)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return functional.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return functional.mean(self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return functional.max(self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        return functional.min(self, axis=axis, keepdims=keepdims)

    def exp(self) -> Tensor:
        return functional.exp(self)

    def log(self) -> Tensor:
        return functional.log(self)

    def sqrt(self) -> Tensor:
        return functional.sqrt(self)

    def tanh(self) -> Tensor:
        return functional.tanh(self)

    def sigmoid(self) -> Tensor:
        return functional.sigmoid(self)

    def relu(self) -> Tensor:
        return functional.relu(self)

    def softmax(self) -> Tensor:
        return functional.softmax(self)


class Parameter(Tensor):
    """A leaf that is trained: what `nn.Module` collects and optimizers update."""

    __slots__ = ()

    def __init__(self, data: Any):
        super().__init__(data, requires_grad=True)


def differentiable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: make a function on arrays, which returns (value, pullback), one on Tensors that records itself.

    The positional arguments of `function` are the inputs, arrays or Tensors; keyword arguments are settings. The
    value is an array or a tuple of arrays. `pullback(dy)`, with one gradient for each output, returns a tuple with
    one `Gradient` for each positional argument, those with a default value included.
    """
    name = function.__name__

    @functools.wraps(function)
    def record(*inputs: Any, **settings: Any) -> Any:
        tracked = False
        arrays = []
        for value in inputs:
            if isinstance(value, Tensor):
                arrays.append(value.data)
                tracked = tracked or value.requires_grad
            else:
                arrays.append(value)
        result, pullback = function(*arrays, **settings)
        outputs = result if isinstance(result, tuple) else (result,)
        node = None
        if tracked and _grad_enabled.get():
            node = Node(name, [_edge(value) for value in inputs], pullback, outputs)
        observer = current_observer()
        if observer is not None:
            operation = Operation(name, current_path() or "", tuple(arrays), outputs, observer)
            if node is not None:
                node.operation = operation
            observer.forward(operation)
        tensors = [_output(array, node, index) for index, array in enumerate(outputs)]
        return tuple(tensors) if isinstance(result, tuple) else tensors[0]

    return record


def _output(array: Any, node: Node | None, index: int) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor.data = array
    tensor.requires_grad = node is not None
    tensor.grad = None
    tensor.gradient_buffer = None
    tensor.node = node
    tensor.index = index
    return tensor


def _edge(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.requires_grad:
        return None
    return value if value.node is None else (value.node, value.index)


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _run_backward(root: Node) -> None:
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
        results = pullback(*gradients)
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
                _add_to_leaf(edge, result)


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


def _add_to_leaf(leaf: Tensor, gradient: Gradient) -> None:
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


# `functional` is built with `differentiable`, and the operators above are built with `functional`.
from . import functional  # noqa: E402
