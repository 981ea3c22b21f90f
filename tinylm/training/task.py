"""What the trainer needs to know of a task, and all it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tinylm.autograd import Tensor

__all__ = ["StatefulTask", "Task"]


class Task(Protocol):
    """Where batches come from, what the loss is, and how well a model does.

    batch_size: the rows of the global batch of one step. How a task is loaded from data is its own affair.
    """

    batch_size: int

    def batch(self, step: int, rows: slice) -> Any:
        """These rows of the global batch of a step: a pure function of both."""

    def loss(self, model: Any, batch: Any) -> Tensor:
        """The mean loss over what counts in the batch, as a Tensor with a graph."""

    def count(self, batch: Any) -> float:
        """How much counts in the batch (targets, rows, their weights): its own weight in a mean over batches."""

    def tokens(self, batch: Any) -> int:
        """How many tokens the model reads in the batch: the unit of speed."""

    def evaluate(self, model: Any) -> dict[str, float]:
        """The metrics of a model in evaluation mode on the validation data, "loss" among them; {} without data."""


@runtime_checkable
class StatefulTask(Protocol):
    """A task that takes something from step to step, such as the state of a recurrent model: checkpoints hold it."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays by name."""

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take a copy of what `state_dict` gave. Raises TinylmError where it does not fit."""
