"""Multi-head attention with Keras' names and first weights, of a sequence to itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinylm import nn
from tinylm.autograd import Parameter, Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError

from .initializers import FirstWeights, check_initializer
from .layer import BuiltLayer, KerasWeight, Layer, Shape, check_positive

__all__ = ["MultiHeadAttention"]

EMPTY = nn.Initializer(None)  # `build` draws the weights


@dataclass(frozen=True)
class MultiHeadAttention(Layer):
    """Self-attention: (T, C) to (T, output_shape or C), in num_heads heads of key_dim (values: value_dim) each.

    In a Sequential model query, key and value are one sequence, `layer(x, x)` in Keras. use_causal_mask: each step
    sees itself and those before it; what Keras takes at the call stands in the description here. dropout must be 0:
    the attention kernel never holds the probabilities that it would drop.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
    """

    num_heads: int
    key_dim: int
    value_dim: int | None = None
    dropout: float = 0.0
    use_bias: bool = True
    output_dim: int | None = None
    kernel_initializer: str = "glorot_uniform"
    bias_initializer: str = "zeros"
    use_causal_mask: bool = False

    def __post_init__(self) -> None:
        check_positive("MultiHeadAttention", "num_heads", self.num_heads)
        check_positive("MultiHeadAttention", "key_dim", self.key_dim)
        for argument in ("value_dim", "output_dim"):
            if getattr(self, argument) is not None:
                check_positive("MultiHeadAttention", argument, getattr(self, argument))
        if self.dropout:
            raise TinylmError(
                f"MultiHeadAttention: dropout is {self.dropout}, only 0 is supported; put a Dropout layer after it"
            )
        check_initializer("MultiHeadAttention", "kernel_initializer", self.kernel_initializer)
        check_initializer("MultiHeadAttention", "bias_initializer", self.bias_initializer)

    def output_shape(self, shape: Shape) -> Shape:
        self._expect_axes(shape, 2)
        return (shape[0], self.output_dim or shape[1])

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _MultiHeadAttention(self, input_size)


class _MultiHeadAttention(BuiltLayer):
    def __init__(self, spec: MultiHeadAttention, input_size: int):
        self.spec = spec
        value_dim = spec.value_dim or spec.key_dim
        H, bias = spec.num_heads, spec.use_bias
        self.query = nn.Linear(input_size, H * spec.key_dim, EMPTY, bias=bias)
        self.key = nn.Linear(input_size, H * spec.key_dim, EMPTY, bias=bias)
        self.value = nn.Linear(input_size, H * value_dim, EMPTY, bias=bias)
        self.output = nn.Linear(H * value_dim, spec.output_dim or input_size, EMPTY, bias=bias)

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        q, k, v = (self._split(projection(x)) for projection in (self.query, self.key, self.value))
        scale = 1 / math.sqrt(self.spec.key_dim)
        y = F.attention(q, k, v, mask, causal=self.spec.use_causal_mask, scale=scale)  # (B, H, T, value_dim)
        y = F.transpose(y, axes=(0, 2, 1, 3))
        return self.output(y.reshape(*x.shape[:2], -1))

    def _split(self, x: Tensor) -> Tensor:
        B, T, width = x.shape
        heads = self.spec.num_heads
        return F.transpose(x.reshape(B, T, heads, width // heads), axes=(0, 2, 1, 3))  # (B, H, T, D)

    def keras_weights(self) -> list[KerasWeight]:
        weights = []
        for name in ("query", "key", "value"):
            layer: nn.Linear = getattr(self, name)
            weights.append(self._kernel(name, layer.weight, (-1, self.spec.num_heads, self._width(layer))))
            if layer.bias is not None:
                weights.append(self._bias(name, layer.bias, (self.spec.num_heads, self._width(layer))))
        out = self.output
        weights.append(self._kernel("output", out.weight, (self.spec.num_heads, self._width(self.value), -1)))
        if out.bias is not None:
            weights.append(self._bias("output", out.bias, (-1,)))
        return weights

    def _width(self, layer: nn.Linear) -> int:
        return len(layer.weight) // self.spec.num_heads

    def _kernel(self, name: str, weight: Parameter, shape: tuple[int, ...]) -> KerasWeight:
        """Keras keeps (C, H, D) and, for the output, (H, D, C); we (H D, C) and (C, H D)."""
        return KerasWeight(
            f"{name}_kernel",
            weight,
            self.spec.kernel_initializer,
            lambda array: np.reshape(array, weight.shape[::-1]).T,
            lambda array: array.T.reshape(shape),
        )

    def _bias(self, name: str, bias: Parameter, shape: tuple[int, ...]) -> KerasWeight:
        return KerasWeight(
            f"{name}_bias",
            bias,
            self.spec.bias_initializer,
            lambda array: np.reshape(array, bias.shape),
            lambda array: array.reshape(shape),
        )
