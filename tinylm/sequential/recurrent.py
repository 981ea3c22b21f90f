"""LSTM, GRU and Bidirectional with Keras' names, defaults, gate orders and first weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinylm import nn
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError

from .initializers import FirstWeights, check_initializer
from .layer import BuiltLayer, KerasWeight, Layer, Shape, check_activation, check_positive

__all__ = ["GRU", "LSTM", "Bidirectional"]

EMPTY = nn.Initializer(None)  # `build` draws the weights


@dataclass(frozen=True)
class Recurrent(Layer):
    """What LSTM and GRU share.

    units: the size of the state. return_sequences: all outputs (T, units) instead of the last one (units,).
    go_backwards: read from the end; the outputs stand in the order they were made in. stateful: row b of a batch goes
    on where row b of the batch before ended, until `reset_state`. dropout: of the inputs, one mask for all steps.
    """

    units: int
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    use_bias: bool = True
    kernel_initializer: str = "glorot_uniform"
    recurrent_initializer: str = "orthogonal"
    bias_initializer: str = "zeros"
    dropout: float = field(default=0.0, kw_only=True)
    return_sequences: bool = field(default=False, kw_only=True)
    go_backwards: bool = field(default=False, kw_only=True)
    stateful: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        kind = type(self).__name__
        check_positive(kind, "units", self.units)
        check_activation(kind, "activation", self.activation, ("tanh",))
        check_activation(kind, "recurrent_activation", self.recurrent_activation, ("sigmoid",))
        for argument in ("kernel_initializer", "recurrent_initializer", "bias_initializer"):
            check_initializer(kind, argument, getattr(self, argument))
        if not 0 <= self.dropout < 1:
            raise TinylmError(f"{kind}: dropout is {self.dropout}, expected 0 <= rate < 1")

    def output_shape(self, shape: Shape) -> Shape:
        self._expect_axes(shape, 2)
        return (shape[0], self.units) if self.return_sequences else (self.units,)


@dataclass(frozen=True)
class LSTM(Recurrent):
    """Long short-term memory: (T, C) to (T, units) or (units,); see `Recurrent`.

    unit_forget_bias: the forget gate's bias starts at 1. The gates stand in the order i, f, c, o.
    """

    unit_forget_bias: bool = True

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _LSTM(self, input_size, first)


@dataclass(frozen=True)
class GRU(Recurrent):
    """Gated recurrent units: (T, C) to (T, units) or (units,); see `Recurrent`.

    reset_after: whether the reset gate acts after the recurrent product, which then has a bias of its own, or before
    it. The gates stand in Keras' order z, r, h.
    """

    reset_after: bool = field(default=True, kw_only=True)

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        return _GRU(self, input_size, first)


class _Recurrent(BuiltLayer):
    """Runs a recurrent layer of nn over the steps that count, in Keras' sense of masks."""

    layer: Any  # nn.LSTM or nn.GRU

    def __init__(self, spec: Any, first: FirstWeights):
        self.spec = spec
        self.dropout = nn.Dropout(spec.dropout, first.next_site(), variational=True)
        self.state: nn.RecurrentState | None = None
        self.zero_masked = False  # the outputs at masked steps, instead of repeating the last

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        x = self.dropout(x)
        if self.spec.go_backwards:
            x, mask = x[:, ::-1], None if mask is None else mask[:, ::-1]
        lengths = None
        if mask is not None:
            x, lengths = _live_steps_first(x, mask), mask.sum(axis=1)
        y, state = self.layer(x, self._state_before(x.shape[0]), lengths)
        if self.spec.stateful:
            self.state = [tuple(part.detach() for part in parts) for parts in state]
        if not self.spec.return_sequences:
            return state[0][0]  # h of an LSTM and of a GRU
        if mask is None:
            return y
        y = _repeated_over_the_masked(y, mask)
        return y * mask[:, :, None].astype(y.dtype) if self.zero_masked else y

    def next_mask(self, x: Any, mask: np.ndarray | None) -> np.ndarray | None:
        return mask if self.spec.return_sequences else None

    def reset_state(self) -> None:
        """Start the next batch from zeros (stateful layers)."""
        self.state = None

    def _state_before(self, batch: int) -> nn.RecurrentState | None:
        if self.state is not None and len(self.state[0][0]) != batch:
            raise TinylmError(
                f"{type(self.spec).__name__}: a stateful layer needs batches of one size: the last one had "
                f"{len(self.state[0][0])} rows, this one {batch}; call reset_state() between them"
            )
        return self.state

    def _matrices(self, layout: Callable[[np.ndarray], np.ndarray] = lambda array: array) -> list[KerasWeight]:
        """The two matrices, which Keras keeps as (inputs, gates). layout: of the gates' axis, its own inverse."""
        weights, spec = self.layer.directions[0], self.spec

        def from_keras(array: np.ndarray) -> np.ndarray:
            return layout(array.T)

        def to_keras(array: np.ndarray) -> np.ndarray:
            return layout(array).T

        return [
            KerasWeight("kernel", weights.w_input, spec.kernel_initializer, from_keras, to_keras),
            KerasWeight("recurrent_kernel", weights.w_hidden, spec.recurrent_initializer, from_keras, to_keras),
        ]


class _LSTM(_Recurrent):
    def __init__(self, spec: LSTM, input_size: int, first: FirstWeights):
        super().__init__(spec, first)
        self.layer = nn.LSTM(input_size, spec.units, EMPTY)
        self.layer.directions[0].bias.requires_grad = spec.use_bias

    def keras_weights(self) -> list[KerasWeight]:
        spec = self.spec
        initializer = "unit_forget_bias" if spec.unit_forget_bias else spec.bias_initializer
        bias = KerasWeight("bias", self.layer.directions[0].bias, initializer)
        return [*self._matrices(), bias] if spec.use_bias else self._matrices()


class _GRU(_Recurrent):
    def __init__(self, spec: GRU, input_size: int, first: FirstWeights):
        super().__init__(spec, first)
        self.layer = nn.GRU(input_size, spec.units, EMPTY, reset_after=spec.reset_after)
        weights = self.layer.directions[0]
        weights.b_input.requires_grad = spec.use_bias
        weights.b_hidden.requires_grad = spec.use_bias and spec.reset_after

    def keras_weights(self) -> list[KerasWeight]:
        spec, weights = self.spec, self.layer.directions[0]
        second = weights.b_hidden if spec.reset_after else None
        bias = KerasWeight("bias", weights.b_input, spec.bias_initializer, _swap_gates, _swap_gates, second)
        return [*self._matrices(_swap_gates), bias] if spec.use_bias else self._matrices(_swap_gates)


def _swap_gates(array: np.ndarray) -> np.ndarray:
    """Between Keras' order z, r, h and ours, r, z, n, along the first axis."""
    z, r, h = np.split(array, 3)
    return np.concatenate([r, z, h])


def _live_steps_first(x: Tensor, mask: np.ndarray) -> Tensor:
    """The steps that count moved to the front of each row, in their order; the others follow."""
    order = np.argsort(~mask, axis=1, kind="stable")
    return x if (order[:, 1:] > order[:, :-1]).all() else x[np.arange(len(mask))[:, None], order]


def _repeated_over_the_masked(y: Tensor, mask: np.ndarray) -> Tensor:
    """The outputs at the steps they belong to; a masked step repeats the one before it, zeros at the beginning."""
    latest = mask.cumsum(axis=1) - 1  # (B, T): which live step was the last
    return y[np.arange(len(mask))[:, None], np.maximum(latest, 0)] * (latest >= 0)[:, :, None].astype(y.dtype)


MERGE = ("concat", "sum", "mul", "ave")


@dataclass(frozen=True)
class Bidirectional(Layer):
    """A recurrent layer read forwards, and one like it backwards; their outputs joined by `merge_mode`.

    merge_mode: concat, sum, mul or ave. backward_layer: another description for the way back; it must have
    go_backwards=True.
    """

    layer: Recurrent
    merge_mode: str = "concat"
    backward_layer: Recurrent | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Recurrent):
            raise TinylmError(f"Bidirectional: expected a recurrent layer, received {self.layer!r}")
        if self.merge_mode not in MERGE:
            raise TinylmError(f"Bidirectional: merge_mode is {self.merge_mode!r}; the choices are {', '.join(MERGE)}")
        back = self._backward
        if back.go_backwards == self.layer.go_backwards:
            raise TinylmError("Bidirectional: the backward_layer must have go_backwards=True, and the layer not")
        if (back.units, back.return_sequences) != (self.layer.units, self.layer.return_sequences):
            raise TinylmError("Bidirectional: layer and backward_layer must agree in units and return_sequences")

    @property
    def _backward(self) -> Recurrent:
        return self.backward_layer or replace(self.layer, go_backwards=not self.layer.go_backwards)

    def output_shape(self, shape: Shape) -> Shape:
        *steps, units = self.layer.output_shape(shape)
        assert units is not None
        return (*steps, 2 * units if self.merge_mode == "concat" else units)

    def make(self, input_size: int, first: FirstWeights) -> BuiltLayer:
        ways = [layer.build(input_size, first) for layer in (self.layer, self._backward)]
        for way in ways:
            assert isinstance(way, _Recurrent)
            way.zero_masked = self.layer.return_sequences
        return _Bidirectional(self, *ways)


class _Bidirectional(BuiltLayer):
    def __init__(self, spec: Bidirectional, forward_layer: BuiltLayer, backward_layer: BuiltLayer):
        self.spec, self.forward_layer, self.backward_layer = spec, forward_layer, backward_layer

    def compute(self, x: Tensor, mask: np.ndarray | None) -> Tensor:
        there, back = self.forward_layer(x, mask), self.backward_layer(x, mask)
        if self.spec.layer.return_sequences:
            back = back[:, ::-1]
        if self.spec.merge_mode == "concat":
            return F.concatenate([there, back], axis=-1)
        if self.spec.merge_mode == "mul":
            return there * back
        return (there + back) * (1.0 if self.spec.merge_mode == "sum" else 0.5)

    def next_mask(self, x: Any, mask: np.ndarray | None) -> np.ndarray | None:
        return self.forward_layer.next_mask(x, mask)

    def keras_weights(self) -> list[KerasWeight]:
        ways = (("forward", self.forward_layer), ("backward", self.backward_layer))
        return [replace(w, name=f"{way}_{w.name}") for way, layer in ways for w in layer.keras_weights()]
