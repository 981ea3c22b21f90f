"""Metrics under Keras' names: one value an element, averaged over the elements that count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["Averages", "Metric", "get"]

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A name and a function of targets and outputs, which gives a value for each element.

    takes_logits: the last softmax or sigmoid does not matter to it, so that it need not be computed.
    """

    name: str
    function: Function
    takes_logits: bool = False


def _classes(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    return y if y.ndim == output.ndim - 1 else y.argmax(axis=-1)


def _class_accuracy(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    return output.argmax(axis=-1) == _classes(y, output)


def _binary_accuracy(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    return ((output > 0.5) == (y > 0.5)).mean(axis=-1)


def _accuracy(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Of classes where the output has several numbers an element, of yes or no where it has one."""
    return _binary_accuracy(y, output) if output.shape[-1] == 1 else _class_accuracy(y, output)


def _squared(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    return np.square(output - y).mean(axis=-1)


def _absolute(y: np.ndarray, output: np.ndarray) -> np.ndarray:
    return np.abs(output - y).mean(axis=-1)


FUNCTIONS: dict[str, tuple[Function, bool]] = {
    "accuracy": (_accuracy, False),
    "acc": (_accuracy, False),
    "binary_accuracy": (_binary_accuracy, False),
    "categorical_accuracy": (_class_accuracy, True),
    "sparse_categorical_accuracy": (_class_accuracy, True),
    "mean_squared_error": (_squared, False),
    "mse": (_squared, False),
    "mean_absolute_error": (_absolute, False),
    "mae": (_absolute, False),
}


def get(identifier: Any, classes: int | None) -> Metric:
    """A metric from its name, a Metric, or a function of (y_true, y_pred) on arrays.

    classes: the size of the output's last axis. Raises TinylmError with the names that exist.
    """
    if isinstance(identifier, Metric):
        return identifier
    if callable(identifier):
        return Metric(getattr(identifier, "__name__", type(identifier).__name__), identifier)
    if identifier not in FUNCTIONS:
        raise TinylmError(f"cannot interpret metric {identifier!r}; the choices are {', '.join(FUNCTIONS)}")
    function, takes_logits = FUNCTIONS[identifier]
    return Metric(identifier, function, takes_logits or (function is _accuracy and classes != 1))


class Averages:
    """The running means of the loss and the metrics over an epoch: what Keras calls logs."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}

    def add(self, name: str, total: float, count: float) -> None:
        """Add a sum over so many elements."""
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0.0) + count

    def result(self) -> dict[str, float]:
        """The means by name, the loss first."""
        return {name: total / max(self._counts[name], 1e-30) for name, total in self._sums.items()}
