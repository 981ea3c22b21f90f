"""What every layer of the Keras-shaped door is: a frozen description, and the module that it builds."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.autograd import Parameter, Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.nn import Module

from .initializers import FirstWeights

__all__ = ["ACTIVATIONS", "BuiltLayer", "KerasWeight", "Layer", "Shape", "check_activation", "check_positive"]

Shape = tuple[int | None, ...]  # without the batch; None for a number of steps that may change


def _silu(x: Tensor) -> Tensor:
    return x * F.sigmoid(x)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, exact=True)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "softmax": F.softmax,
    "gelu": _gelu,
    "silu": _silu,
    "swish": _silu,
}


@dataclass(frozen=True)
class KerasWeight:
    """One array of a layer as Keras names and lays it out, and the parameter of ours that holds its numbers.

    from_keras, to_keras: between the layouts, both on arrays. second: the parameter with the other half of the
    numbers, where Keras has two of ours in one array (2, ...).
    """

    name: str
    parameter: Parameter
    initializer: str
    from_keras: Callable[[np.ndarray], np.ndarray] = lambda array: array
    to_keras: Callable[[np.ndarray], np.ndarray] = lambda array: array
    second: Parameter | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of ours that hold the numbers."""
        return (self.parameter,) if self.second is None else (self.parameter, self.second)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(parameter.size for parameter in self.parameters)

    @property
    def shape(self) -> tuple[int, ...]:
        """In Keras' layout."""
        return self.get().shape

    def get(self) -> np.ndarray:
        """A copy, in Keras' layout."""
        parts = [self.to_keras(parameter.data) for parameter in self.parameters]
        return np.array(parts[0] if self.second is None else parts, order="C")

    def set(self, array: np.ndarray) -> None:
        """Take over an array in Keras' layout, into the memory that the parameter has."""
        for parameter, part in zip(self.parameters, [array] if self.second is None else array, strict=True):
            parameter.data[...] = self.from_keras(part)


class BuiltLayer(Module):
    """A layer with its weights: `forward(x, mask)` is its activation of what `compute` gives.

    mask: (B, T) bool, False for steps that do not count, or None.
    """

    activation = "linear"

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        """The output before the activation."""
        raise TypeError(f"{type(self).__name__} defines no compute")

    def forward(self, x: Tensor, mask: np.ndarray | None = None) -> Tensor:
        return ACTIVATIONS[self.activation](self.compute(x, mask))

    def next_mask(self, x: Any, mask: np.ndarray | None) -> np.ndarray | None:
        """The mask of the output, from the input and its mask."""
        return mask

    def keras_weights(self) -> list[KerasWeight]:
        """The layer's weights in Keras' order."""
        return []

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights, in Keras' order and layout."""
        return [weight.get() for weight in self.keras_weights()]

    def set_weights(self, arrays: list[np.ndarray]) -> None:
        """Take over weights in Keras' order and layout. Raises TinylmError, changing nothing, where they do not fit."""
        weights = self.keras_weights()
        received, expected = [np.shape(a) for a in arrays], [w.shape for w in weights]
        if received != expected:
            raise TinylmError(f"set_weights: received arrays of the shapes {received}, expected {expected}")
        for weight, array in zip(weights, arrays, strict=True):
            weight.set(np.asarray(array))


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """A description: what a layer is, before it knows the size of its input. It holds no weights.

    name: made from the class where None. trainable: whether `fit` changes the weights.
    """

    name: str | None = None
    trainable: bool = True

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output, without the batch. Raises TinylmError for an input that does not fit."""

    @abstractmethod
    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        """The module for inputs whose last axis has this size, its weights not yet drawn."""

    def build(self, input_size: int, first: FirstWeights | None = None) -> BuiltLayer:
        """The module with its first weights, as Keras draws them. first: where they come from, seed 0 where None."""
        first = first or FirstWeights()
        module = self.make(input_size, first)
        for weight in module.keras_weights():
            weight.set(first.draw(weight.initializer, weight.shape))
            for parameter in weight.parameters:
                parameter.requires_grad = parameter.requires_grad and self.trainable
        return module

    def config(self) -> dict[str, Any]:
        """The fields, for a file."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _expect_axes(self, shape: Shape, axes: int) -> None:
        if len(shape) != axes:
            raise TinylmError(
                f"{type(self).__name__}: incompatible input: expected ndim={axes + 1}, found ndim={len(shape) + 1}. "
                f"Full shape received: {(None, *shape)}"
            )


def check_positive(layer: str, argument: str, value: Any) -> None:
    """Raise TinylmError unless the value is a whole number from 1 on."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise TinylmError(f"{layer}: {argument} is {value!r}, expected a positive integer")


def check_activation(layer: str, argument: str, name: str | None, choices: Any = ACTIVATIONS) -> None:
    """Raise TinylmError unless the activation exists."""
    if name is not None and name not in choices:
        raise TinylmError(f"{layer}: {argument} is {name!r}; the choices are {', '.join(choices)}")
