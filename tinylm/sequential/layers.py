"""The layers that hold no state: frozen descriptions under Keras' names, with its defaults and first weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm import nn
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError

from .attention import MultiHeadAttention
from .initializers import FirstWeights, check_initializer
from .layer import BuiltLayer, KerasWeight, Layer, Shape, check_activation, check_positive
from .recurrent import GRU, LSTM, Bidirectional

__all__ = [
    "GRU",
    "LSTM",
    "Activation",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Embedding",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "Input",
    "LayerNormalization",
    "MultiHeadAttention",
    "TimeDistributed",
]

EMPTY = nn.Initializer(None)  # `build` draws the weights


@dataclass(frozen=True)
class Input:
    """The shape of one sample, without the batch; None for a number of steps that may change. Stands first."""

    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if any(size is not None and (not isinstance(size, int) or size < 1) for size in self.shape):
            raise TinylmError(f"Input: shape is {self.shape!r}, expected positive integers or None")
        object.__setattr__(self, "shape", tuple(self.shape))


@dataclass(frozen=True)
class Embedding(Layer):
    """A row of output_dim numbers for each id below input_dim: (T,) ids to (T, output_dim).

    mask_zero: the id 0 is padding, which later layers, the loss and the metrics pass over.
    """

    input_dim: int
    output_dim: int
    embeddings_initializer: str = "uniform"
    mask_zero: bool = False

    def __post_init__(self) -> None:
        check_positive("Embedding", "input_dim", self.input_dim)
        check_positive("Embedding", "output_dim", self.output_dim)
        check_initializer("Embedding", "embeddings_initializer", self.embeddings_initializer)

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape, self.output_dim)

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Embedding(self)


class _Embedding(BuiltLayer):
    def __init__(self, spec: Embedding):
        self.spec = spec
        self.table = nn.Embedding(spec.input_dim, spec.output_dim, EMPTY)

    def compute(self, x: Any, mask: np.ndarray | None) -> Tensor:
        return self.table(x)

    def next_mask(self, x: Any, mask: np.ndarray | None) -> np.ndarray | None:
        return x != 0 if self.spec.mask_zero else None

    def keras_weights(self) -> list[KerasWeight]:
        return [KerasWeight("embeddings", self.table.weight, self.spec.embeddings_initializer)]


@dataclass(frozen=True)
class Dense(Layer):
    """activation(x W + b) over the last axis: (..., I) to (..., units)."""

    units: int
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: str = "glorot_uniform"
    bias_initializer: str = "zeros"

    def __post_init__(self) -> None:
        check_positive("Dense", "units", self.units)
        check_activation("Dense", "activation", self.activation)
        check_initializer("Dense", "kernel_initializer", self.kernel_initializer)
        check_initializer("Dense", "bias_initializer", self.bias_initializer)

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Dense(self, input_size)


class _Dense(BuiltLayer):
    def __init__(self, spec: Dense, input_size: int):
        self.spec, self.activation = spec, spec.activation or "linear"
        self.linear = nn.Linear(input_size, spec.units, EMPTY, bias=spec.use_bias)

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        return self.linear(x)

    def keras_weights(self) -> list[KerasWeight]:
        spec, bias = self.spec, self.linear.bias
        kernel = KerasWeight("kernel", self.linear.weight, spec.kernel_initializer, np.transpose, np.transpose)
        return [kernel] if bias is None else [kernel, KerasWeight("bias", bias, spec.bias_initializer)]


@dataclass(frozen=True)
class Activation(Layer):
    """An activation as a layer of its own."""

    activation: str

    def __post_init__(self) -> None:
        check_activation("Activation", "activation", self.activation)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Activation(self.activation)


class _Activation(BuiltLayer):
    def __init__(self, activation: str):
        self.activation = activation

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        return x


@dataclass(frozen=True)
class Dropout(Layer):
    """While training: x / (1 - rate) for a random 1 - rate of the elements, 0 for the others."""

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise TinylmError(f"Dropout: rate is {self.rate}, expected 0 <= rate < 1")

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Dropout(nn.Dropout(self.rate, first.next_site()))


class _Dropout(BuiltLayer):
    def __init__(self, dropout: nn.Dropout):
        self.dropout = dropout

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        return self.dropout(x)


@dataclass(frozen=True)
class LayerNormalization(Layer):
    """(x - mean) / sqrt(var + epsilon) * gamma + beta over the last axis."""

    axis: int = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: str = "zeros"
    gamma_initializer: str = "ones"

    def __post_init__(self) -> None:
        if self.axis != -1:
            raise TinylmError(f"LayerNormalization: axis is {self.axis}; only the last axis, -1, is supported")
        if not self.epsilon > 0:
            raise TinylmError(f"LayerNormalization: epsilon is {self.epsilon}, expected more than 0")
        check_initializer("LayerNormalization", "beta_initializer", self.beta_initializer)
        check_initializer("LayerNormalization", "gamma_initializer", self.gamma_initializer)

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _LayerNormalization(self, input_size)


class _LayerNormalization(BuiltLayer):
    def __init__(self, spec: LayerNormalization, input_size: int):
        self.spec = spec
        self.norm = nn.LayerNorm(input_size, EMPTY, eps=spec.epsilon)
        self.norm.weight.requires_grad, self.norm.bias.requires_grad = spec.scale, spec.center

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        return self.norm(x)

    def keras_weights(self) -> list[KerasWeight]:
        gamma = KerasWeight("gamma", self.norm.weight, self.spec.gamma_initializer)
        beta = KerasWeight("beta", self.norm.bias, self.spec.beta_initializer)
        return [weight for weight, used in ((gamma, self.spec.scale), (beta, self.spec.center)) if used]


@dataclass(frozen=True)
class GlobalAveragePooling1D(Layer):
    """The mean over the steps that count: (T, C) to (C,)."""

    def output_shape(self, shape: Shape) -> Shape:
        self._expect_axes(shape, 2)
        return shape[-1:]

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Average()


class _Average(BuiltLayer):
    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        if mask is None:
            return x.mean(axis=1)
        weights = mask.astype(x.dtype)[:, :, None]
        return F.divide((x * weights).sum(axis=1), weights.sum(axis=1))

    def next_mask(self, x: Any, mask: np.ndarray | None) -> None:
        return None


@dataclass(frozen=True)
class GlobalMaxPooling1D(Layer):
    """The largest value of each channel over all steps: (T, C) to (C,)."""

    def output_shape(self, shape: Shape) -> Shape:
        self._expect_axes(shape, 2)
        return shape[-1:]

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _Maximum()


class _Maximum(BuiltLayer):
    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        return x.max(axis=1)

    def next_mask(self, x: Any, mask: np.ndarray | None) -> None:
        return None


@dataclass(frozen=True)
class TimeDistributed(Layer):
    """A layer applied to each step: (T, ...) to (T, ...). Dense does so by itself."""

    layer: Layer

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:1], *self.layer.output_shape(shape[1:]))

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return self.layer.build(input_size, first)
