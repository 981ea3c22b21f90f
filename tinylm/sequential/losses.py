"""Losses under Keras' names, fused with the last activation where that is exact and cheaper.

The loss of a batch is the mean over its elements (rows, or rows and steps), each times its weight; under a mask, over
those that count.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError

from .registry import Registry

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CustomLoss",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "get",
]

EPSILON = 1e-7  # Keras keeps probabilities this far from 0 and 1 before it takes their logarithm


@dataclass(frozen=True)
class Loss(ABC):
    """What `fit` makes small. activation: the one whose input, the logits, the loss can take instead of its output."""

    activation: ClassVar[str | None] = None

    @abstractmethod
    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        """The loss of each element: y and output (..., C) or (..., 1) to (...)."""

    def mean(self, y: np.ndarray, output: Tensor, is_logits: bool, weights: np.ndarray | None, count: float) -> Tensor:
        """The sum of weight times loss, over all elements, divided by `count`."""
        losses = self.elements(y, output, is_logits)
        if weights is not None:
            losses = losses * weights.astype(output.dtype)
        return losses.sum() * (1 / count)

    def counted(self, y: np.ndarray) -> np.ndarray | None:
        """Which elements count, from checked targets; None where all do."""
        return None

    def check_targets(self, y: np.ndarray, shape: tuple[Any, ...]) -> np.ndarray:
        """The targets as the loss takes them, for outputs of this shape, batch included; TinylmError where unfit."""
        if y.ndim == len(shape) - 1 and shape[-1] == 1:
            y = y[..., None]
        if not _fits(y.shape, shape):
            raise TinylmError(
                f"{type(self).__name__}: targets of shape {y.shape} do not fit outputs of shape {shape}; "
                "they must have the same shape"
            )
        return y


def _fits(shape: tuple[int, ...], wanted: tuple[Any, ...]) -> bool:
    return len(shape) == len(wanted) and all(b is None or a == b for a, b in zip(shape, wanted, strict=True))


@dataclass(frozen=True)
class _Crossentropy(Loss):
    """Cross-entropy between classes, along the last axis of the output."""

    from_logits: bool = False
    activation: ClassVar[str | None] = "softmax"

    def mean(self, y: np.ndarray, output: Tensor, is_logits: bool, weights: np.ndarray | None, count: float) -> Tensor:
        if not (self._are_ids(y, output) and (is_logits or self.from_logits)):
            return super().mean(y, output, is_logits, weights, count)
        if weights is not None:
            weights = weights.astype(output.dtype)
        # Loss and gradient in one pass; the gradient takes the place of the logits, which nobody else sees.
        loss = F.cross_entropy(output, y, weights, label_smoothing=self._smoothing, in_place=True)
        share = 1.0 if weights is None else float(weights.sum()) / count
        return loss if share == 1.0 else loss * share

    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        if is_logits or self.from_logits:
            log_p = F.log_softmax(output)
        else:
            p = output / output.sum(axis=-1, keepdims=True)
            log_p = F.log(F.minimum(F.maximum(p, EPSILON), 1 - EPSILON))
        if self._are_ids(y, output):
            y = _one_hot(y, output.shape[-1], output.dtype)
        if self._smoothing:
            y = y * (1 - self._smoothing) + self._smoothing / output.shape[-1]
        return -(log_p * y.astype(output.dtype)).sum(axis=-1)

    @property
    def _smoothing(self) -> float:
        return 0.0

    def _are_ids(self, y: np.ndarray, output: Tensor) -> bool:
        return y.ndim == output.ndim - 1


@dataclass(frozen=True)
class CategoricalCrossentropy(_Crossentropy):
    """-sum y ln p, for targets (..., C) that are one-hot or distributions; one-hot ones are used as ids.

    from_logits: the output is not a distribution yet. label_smoothing: the share of each target that is spread evenly.
    """

    label_smoothing: float = 0.0

    @property
    def _smoothing(self) -> float:
        return self.label_smoothing

    def check_targets(self, y: np.ndarray, shape: tuple[Any, ...]) -> np.ndarray:
        if y.ndim == len(shape) - 1 and y.dtype.kind in "iu":
            raise TinylmError(
                f"categorical_crossentropy: targets of shape {y.shape} are integers, expected one-hot rows of shape "
                f"{shape}; use loss='sparse_categorical_crossentropy', or utils.to_categorical(y, {shape[-1]})"
            )
        return _ids_of_one_hot(super().check_targets(y, shape))


@dataclass(frozen=True)
class SparseCategoricalCrossentropy(_Crossentropy):
    """-ln p[y], for targets (...) or (..., 1) of whole numbers, the classes. from_logits: see the one above.

    ignore_class: a class whose elements do not count; None for none.
    """

    ignore_class: int | None = None

    def counted(self, y: np.ndarray) -> np.ndarray | None:
        return None if self.ignore_class is None else y != self.ignore_class

    def check_targets(self, y: np.ndarray, shape: tuple[Any, ...]) -> np.ndarray:
        if y.ndim == len(shape) and y.shape[-1] == 1:
            y = y[..., 0]
        if not _fits(y.shape, shape[:-1]):
            raise TinylmError(
                f"sparse_categorical_crossentropy: targets of shape {y.shape} do not fit outputs of shape {shape}; "
                f"expected the shape {shape[:-1]}, or use categorical_crossentropy for one-hot targets"
            )
        ids = y.astype(np.int64)
        if not (ids == y).all():
            raise TinylmError("sparse_categorical_crossentropy: the targets must be whole numbers, the classes")
        real = ids if self.ignore_class is None else ids[ids != self.ignore_class]
        if real.size and (real.min() < 0 or real.max() >= shape[-1]):
            raise TinylmError(
                f"sparse_categorical_crossentropy: targets must lie in 0..{shape[-1] - 1}, the classes of the output; "
                f"received {real.min()}..{real.max()}"
            )
        return ids


@dataclass(frozen=True)
class BinaryCrossentropy(Loss):
    """-y ln p - (1 - y) ln(1 - p), the mean over the last axis."""

    from_logits: bool = False
    label_smoothing: float = 0.0
    activation: ClassVar[str | None] = "sigmoid"

    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        target = y.astype(output.dtype) * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        if is_logits or self.from_logits:
            # max(z, 0) - z y + ln(1 + e^-|z|), which cannot overflow
            losses = F.relu(output) - output * target + F.log(F.exp(-F.absolute(output)) + 1.0)
        else:
            p = F.minimum(F.maximum(output, EPSILON), 1 - EPSILON)
            losses = -(F.log(p) * target + F.log(1.0 - p) * (1 - target))
        return losses.mean(axis=-1)


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """(y - output)^2, the mean over the last axis."""

    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        return ((output - y.astype(output.dtype)) ** 2.0).mean(axis=-1)


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """|y - output|, the mean over the last axis."""

    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        return F.absolute(output - y.astype(output.dtype)).mean(axis=-1)


@dataclass(frozen=True)
class CustomLoss(Loss):
    """A function of the user's, of targets (an array) and outputs (a Tensor), that returns the losses as a Tensor."""

    function: Callable[[np.ndarray, Tensor], Tensor]

    def elements(self, y: np.ndarray, output: Tensor, is_logits: bool) -> Tensor:
        return self.function(y, output)

    def check_targets(self, y: np.ndarray, shape: tuple[Any, ...]) -> np.ndarray:
        return y


LOSSES = Registry(
    "loss",
    {
        "categorical_crossentropy": CategoricalCrossentropy,
        "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
        "binary_crossentropy": BinaryCrossentropy,
        "mean_squared_error": MeanSquaredError,
        "mse": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "mae": MeanAbsoluteError,
    },
)


def get(identifier: Any) -> Loss:
    """A loss from its name, a Loss, or a function of (y_true, y_pred)."""
    if callable(identifier) and not isinstance(identifier, type):
        return CustomLoss(identifier)
    return LOSSES.get(identifier, Loss)


def _one_hot(ids: np.ndarray, classes: int, dtype: Any) -> np.ndarray:
    return (ids[..., None] == np.arange(classes)).astype(dtype)


def _ids_of_one_hot(y: np.ndarray, rows_at_a_time: int = 256) -> np.ndarray:
    """The place of the 1 in each row where every row is a single 1 and else 0; y itself otherwise."""
    flat = y.reshape(-1, y.shape[-1])
    ids = np.empty(len(flat), np.int64)
    for first in range(0, len(flat), rows_at_a_time):
        rows = flat[first : first + rows_at_a_time]
        best = rows.argmax(axis=-1)
        ones = rows[np.arange(len(rows)), best]
        if not ((ones == 1).all() and (np.count_nonzero(rows, axis=-1) == 1).all()):
            return y
        ids[first : first + rows_at_a_time] = best
    return ids.reshape(y.shape[:-1])
