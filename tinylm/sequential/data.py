"""The arrays that `fit`, `evaluate` and `predict` are given: checked, weighted and cut into batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

from .losses import Loss

__all__ = ["Samples", "as_array", "class_weights", "split_off"]


@dataclass(frozen=True)
class Samples:
    """Inputs, targets and perhaps weights of N samples. weights: (N,) or (N, T)."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = {"x": len(self.x), "y": len(self.y)}
        if self.weights is not None:
            sizes["sample_weight"] = len(self.weights)
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name!r} sizes: {size}" for name, size in sizes.items())
            raise TinylmError(f"all arrays must have the same number of samples; received {listed}")
        if not len(self.x):
            raise TinylmError("there are no samples; give arrays with at least one")

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> Samples:
        return Samples(self.x[rows], self.y[rows], None if self.weights is None else self.weights[rows])

    def batches(self, size: int) -> Iterator[Samples]:
        """All samples in their order, `size` at a time."""
        return (self[first : first + size] for first in range(0, len(self), size))

    def with_targets(self, loss: Loss, output_shape: tuple[Any, ...]) -> Samples:
        """The same samples with targets as the loss takes them, for outputs of this shape without the batch."""
        return Samples(self.x, loss.check_targets(self.y, (len(self), *output_shape)), self.weights)


def as_array(name: str, value: Any) -> np.ndarray:
    """An array of numbers. Raises TinylmError for anything else, rows of different lengths among them."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise TinylmError(
            f"{name} must be an array of numbers; received {type(value).__name__} that gives dtype {array.dtype}. Rows "
            "of different lengths are made equal by utils.pad_sequences, texts are made numbers by a tokenizer"
        )
    if array.ndim == 0:
        raise TinylmError(f"{name} is a single number, expected an array of samples")
    return array


def split_off(samples: Samples, share: float) -> tuple[Samples, Samples]:
    """(the first 1 - share of the samples, the rest), before any shuffling, as Keras does."""
    if not 0 < share < 1:
        raise TinylmError(f"validation_split is {share}, expected 0 <= share < 1")
    cut = math.floor(len(samples) * (1 - share))
    if cut in (0, len(samples)):
        raise TinylmError(
            f"{len(samples)} samples do not suffice for a training and a validation set with validation_split={share}; "
            "give more data or another share"
        )
    return samples[:cut], samples[cut:]


def class_weights(weights: Mapping[int, float], y: np.ndarray) -> np.ndarray:
    """The weight of each element by its class; y: whole numbers, as `Loss.check_targets` returns classes."""
    if y.dtype.kind not in "iu":
        raise TinylmError("class_weight needs targets that are classes: whole numbers, or one-hot rows")
    table = np.ones(max(int(y.max()), *weights, 0) + 1)
    for number, weight in weights.items():
        table[number] = weight
    return table[y]
