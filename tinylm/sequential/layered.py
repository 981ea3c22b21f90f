"""Layers one after the other, and their weights: what a Sequential model is before it is trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

from .data import as_array
from .initializers import FirstWeights
from .layer import BuiltLayer, Layer, Shape
from .layers import Embedding, Input
from .stack import Stack
from .table import summary_table

__all__ = ["Layered", "snake_case"]


class Layered:
    """Layer descriptions, and the modules built from them when the shape of the input is known."""

    def __init__(self, layers: Iterable[Layer | Input], name: str, seed: int):
        self.name, self.seed = name, seed
        self.input: Input | None = None
        self.layers: list[Layer] = []
        self._stack: Stack | None = None
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Input) -> None:
        """Put a layer at the end. Raises TinylmError for anything else than a layer, or once weights exist."""
        if self.built:
            raise TinylmError("the model is built; layers can only be added before its first use")
        if isinstance(layer, Input):
            if self.input is not None or self.layers:
                raise TinylmError("an Input stands first, and once")
            self.input = layer
        elif isinstance(layer, Layer):
            self.layers.append(layer)
        else:
            raise TinylmError(f"expected a layer, such as Dense(10); received {layer!r}")

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._stack is not None

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights. input_shape: with the batch first, which may be None; that of the Input where None."""
        if input_shape is None:
            if self.input is None:
                raise TinylmError("build needs an input_shape, or an Input as the first layer")
            shape: Shape = self.input.shape
        else:
            shape = tuple(input_shape)[1:]
        if not self.layers:
            raise TinylmError("the model has no layers; add some")
        first, built = FirstWeights(self.seed), []
        for layer, before in zip(self.layers, self._shapes(shape), strict=False):
            built.append(layer.build(_last_size(layer, before), first))
        self._stack = Stack(built)
        # The number of steps may change from call to call; ids have steps alone.
        channels = () if isinstance(self.layers[0], Embedding) else shape[-1:]
        self.input = self.input or Input((None,) * (len(shape) - len(channels)) + channels)

    def _shapes(self, shape: Shape) -> list[Shape]:
        """The shapes before, between and after the layers."""
        shapes = [shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return shapes

    def output_shapes(self) -> list[Shape]:
        """The output shape of each layer, without the batch; [] before the shape of the input is known."""
        return self._shapes(self.input.shape)[1:] if self.input else []

    @property
    def stack(self) -> Stack:
        """The built layers, a Module."""
        if self._stack is None:
            self.build()
        assert self._stack is not None
        return self._stack

    def layer_names(self) -> list[str]:
        """The names of the layers: their own, or the class with a number."""
        names: list[str] = []
        for layer in self.layers:
            base = layer.name or snake_case(type(layer).__name__)
            used = sum(name == base or name.rpartition("_")[0] == base for name in names)
            names.append(base if not used else f"{base}_{used}")
        return names

    def get_layer(self, name: str | None = None, index: int | None = None) -> BuiltLayer:
        """A built layer, with `get_weights` and `set_weights`, by its name or its place."""
        names = self.layer_names()
        if name is not None and name in names:
            index = names.index(name)
        if index is None or not -len(names) <= index < len(names):
            raise TinylmError(f"there is no layer {name if name is not None else index!r}; there are {names}")
        return self.stack.layers[index]

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, in Keras' order and layout."""
        return [array for layer in self.stack.layers for array in layer.get_weights()]

    def set_weights(self, arrays: Sequence[np.ndarray]) -> None:
        """Take over weights in Keras' order and layout, such as Keras' own `get_weights()`."""
        counts = [len(layer.keras_weights()) for layer in self.stack.layers]
        if len(arrays) != sum(counts):
            raise TinylmError(f"set_weights: received {len(arrays)} arrays, expected {sum(counts)}")
        rest = list(arrays)
        for layer, count in zip(self.stack.layers, counts, strict=True):
            layer.set_weights(rest[:count])
            rest = rest[count:]

    def count_params(self) -> int:
        """How many numbers the weights hold."""
        return sum(array.size for array in self.get_weights())

    def summary(self) -> None:
        """Print a table of the layers: name, output shape, weights."""
        print(summary_table(self))

    def inputs(self, x: Any) -> np.ndarray:
        """The inputs as the first layer takes them; the model is built by the first ones it sees."""
        array = as_array("x", x)
        if not len(array):
            raise TinylmError("x holds no samples; give at least one")
        if not self.built:
            self.build((None, *self.input.shape) if self.input else array.shape)
        assert self.input is not None
        wanted = self.input.shape
        if len(wanted) != array.ndim - 1 or any(
            w not in (None, s) for w, s in zip(wanted, array.shape[1:], strict=True)
        ):
            raise TinylmError(f"the model expects inputs of shape {(None, *wanted)}, received {array.shape}")
        if isinstance(self.layers[0], Embedding):
            return _ids(array, self.layers[0])
        return array.astype(next(iter(self.stack.parameters())).dtype if self.get_weights() else np.float32, copy=False)


def _last_size(layer: Layer, shape: Shape) -> int:
    """The size of the last axis of a layer's input; 0 for an Embedding, which has no need of it."""
    if isinstance(layer, Embedding):
        return 0
    if not shape or shape[-1] is None:
        raise TinylmError(
            f"{type(layer).__name__}: the last axis of its input must have a size; received {(None, *shape)}"
        )
    return shape[-1]


def _ids(array: np.ndarray, embedding: Embedding) -> np.ndarray:
    ids = array.astype(np.int64, copy=False) if array.dtype.kind in "fb" else array
    if array.dtype.kind == "f" and not (ids == array).all():
        raise TinylmError("Embedding: its inputs must be whole numbers, the ids")
    if ids.size and (ids.min() < 0 or ids.max() >= embedding.input_dim):
        raise TinylmError(
            f"Embedding: ids must lie in 0..{embedding.input_dim - 1} (input_dim={embedding.input_dim}); "
            f"received {ids.min()}..{ids.max()}"
        )
    return ids


def snake_case(name: str) -> str:
    """The name of a class as Keras writes that of its layers: GlobalMaxPooling1D as global_max_pooling1d."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
