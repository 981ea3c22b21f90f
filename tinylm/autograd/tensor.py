"""Tensor: an array that remembers how it was computed, and the decorator that makes functions write it down.

A differentiable function takes arrays and returns its value with a *pullback*: the function that turns the gradient
by its output into the gradients by its inputs. Each call adds a `Node` to a graph, which `graph` walks backwards.
First-order gradients only.

What the pullbacks hold is nearly all the memory that training takes. A value that is cheap to compute (an activation, a
norm) comes with a third result, a function that computes it `again`; the matrix product that takes it in has it made
anew in the backward pass instead of holding it, where it is large.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .graph import Node, add_to_leaf, run_backward
from .observer import Operation, current_observer, current_path

__all__ = ["Parameter", "Tensor", "differentiable", "edge", "is_recorded", "no_grad"]

# A value of fewer bytes is kept though it could be computed again: small models are bound by time, not by memory.
WORTH_COMPUTING_AGAIN = 1 << 21

_grad_enabled: ContextVar[bool] = ContextVar("gradients are recorded", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Within the block no graph is recorded: results need no gradient and keep no intermediate array alive."""
    token = _grad_enabled.set(False)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


class Tensor:
    """An array and, where a gradient is wanted, the operation that made it.

    data: an array, kept as it is, or numbers, which become float32. requires_grad: whether `backward` shall fill
    `grad`; only floating data has gradients. Raises TypeError for anything that is not an array of numbers.
    """

    __slots__ = ("__weakref__", "again", "data", "grad", "gradient_buffer", "index", "node", "requires_grad")
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
        self.again: Callable[[], Any] | None = None  # computes the data anew, to the same bits

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
            add_to_leaf(self, gradient)
            return
        self.node.gradients[self.index] = gradient
        run_backward(self.node)

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


def differentiable(function: Callable[..., Any] | None = None, *, hands_back: int | None = None) -> Callable[..., Any]:
    """Decorator: make a function on arrays, which returns (value, pullback), one on Tensors that records itself.

    The positional arguments of `function` are the inputs, arrays or Tensors; keyword arguments are settings. The
    value is an array or a tuple of arrays. `pullback(dy)`, with one gradient for each output, returns a tuple with
    one `Gradient` for each positional argument, those with a default value included. A function of one output may
    return (value, pullback, again), where again() is the value once more. hands_back: the number of an input that the
    pullback is given as its last argument, instead of holding it itself; it is computed again where it can be.
    """
    if function is None:
        return functools.partial(differentiable, hands_back=hands_back)
    name = function.__name__.lstrip("_")

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
        result, pullback, *again = function(*arrays, **settings)
        outputs = result if isinstance(result, tuple) else (result,)
        node = None
        if tracked and _grad_enabled.get():
            if hands_back is not None:
                pullback = _handing_back(pullback, inputs[hands_back])
            node = Node(name, [edge(value) for value in inputs], pullback, outputs)
        observer = current_observer()
        if observer is not None:
            operation = Operation(name, current_path() or "", tuple(arrays), outputs, observer, settings)
            if node is not None:
                node.operation = operation
            observer.forward(operation)
        tensors = [_output(array, node, index) for index, array in enumerate(outputs)]
        if again and node is not None and result.nbytes >= WORTH_COMPUTING_AGAIN:
            tensors[0].again = again[0]
        return tuple(tensors) if isinstance(result, tuple) else tensors[0]

    return record


def is_recorded(*inputs: Any) -> bool:
    """Whether an operation on these is recorded, because a gradient by one of them is wanted."""
    return _grad_enabled.get() and any(isinstance(value, Tensor) and value.requires_grad for value in inputs)


def _handing_back(pullback: Callable[..., Any], value: Any) -> Callable[..., Any]:
    again = value.again if isinstance(value, Tensor) else None
    if again is not None:
        return lambda *gradients: pullback(*gradients, again())
    array = _array(value)
    return lambda *gradients: pullback(*gradients, array)


def _output(array: Any, node: Node | None, index: int) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor.data = array
    tensor.requires_grad = node is not None
    tensor.grad = None
    tensor.gradient_buffer = None
    tensor.node = node
    tensor.index = index
    tensor.again = None
    return tensor


def edge(value: Any) -> Any:
    """Where the gradient by a value goes to; see `Node`."""
    if not isinstance(value, Tensor) or not value.requires_grad:
        return None
    return value if value.node is None else (value.node, value.index)


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


# `functional` is built with `differentiable`, and the operators above are built with `functional`.
from . import functional  # noqa: E402
