"""How a Keras-shaped model is trained by the one trainer: its task, and the epochs as a callback of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.autograd import Tensor, no_grad
from tinylm.training import StepResult, Trainer

from .callbacks import Callback
from .data import Samples
from .layer import ACTIVATIONS
from .losses import Loss
from .metrics import Averages, Metric
from .stack import Stack

__all__ = ["ArrayTask", "Epochs", "Objective"]


@dataclass(frozen=True)
class Objective:
    """A loss and metrics: what `compile` settles, but for the optimizer."""

    loss: Loss
    metrics: tuple[Metric, ...]

    def measure(self, model: Stack, batch: Samples, averages: Averages) -> Tensor:
        """The loss of a batch as a Tensor with a graph; it and the metrics are added to the averages."""
        fused = self.loss.activation is not None and model.activation == self.loss.activation
        output, mask = model(batch.x, fused)
        mask = _both(mask, self.loss.counted(batch.y))
        elements = batch.y.shape if batch.y.ndim < output.ndim else output.shape[:-1]
        self._add_metrics(batch.y, output, mask, model.activation if fused else "linear", averages)
        weights, count = _weigh(batch.weights, mask, elements)
        loss = self.loss.mean(batch.y, output, fused, weights, count)
        averages.add("loss", loss.item() * len(batch), len(batch))
        return loss

    def _add_metrics(
        self, y: np.ndarray, output: Tensor, mask: np.ndarray | None, activation: str, averages: Averages
    ) -> None:
        """Before the loss, which may overwrite its logits."""
        predictions = output.data
        if not all(metric.takes_logits for metric in self.metrics):
            with no_grad():
                predictions = ACTIVATIONS[activation](Tensor(output.data)).data
        for metric in self.metrics:
            values = np.asarray(metric.function(y, output.data if metric.takes_logits else predictions))
            if mask is not None and mask.shape == values.shape:
                values = values[mask]
            averages.add(metric.name, float(values.sum(dtype=np.float64)), values.size)


def _both(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return b if a is None else a if b is None else a & b


def _weigh(
    weights: np.ndarray | None, mask: np.ndarray | None, elements: tuple[int, ...]
) -> tuple[np.ndarray | None, float]:
    """The weight of each element, None where all are 1, and by what the weighted sum is divided."""
    if weights is not None:
        weights = np.broadcast_to(weights.reshape(*weights.shape, *[1] * (len(elements) - weights.ndim)), elements)
    if mask is None or mask.shape != elements:
        return weights, float(np.prod(elements))
    return mask * (1.0 if weights is None else weights), max(float(mask.sum()), 1.0)


class ArrayTask:
    """The task (see `tinylm.training.Task`): samples in arrays, all of them once an epoch.

    shuffle: each epoch in an order of its own, a function of seed and epoch. logs: the means of this epoch so far.
    """

    def __init__(
        self,
        samples: Samples,
        objective: Objective,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        first_step: int = 0,
        first_epoch: int = 0,
        validation: Samples | None = None,
        validation_batch_size: int | None = None,
    ):
        self.samples, self.objective, self.batch_size = samples, objective, batch_size
        self.shuffle, self.seed, self.first_step, self.first_epoch = shuffle, seed, first_step, first_epoch
        self.validation, self.validation_batch_size = validation, validation_batch_size or batch_size
        self.steps_per_epoch = -(-len(samples) // batch_size)
        self.logs = Averages()
        self._order = (-1, np.empty(0, np.int64))

    def batch(self, step: int, rows: slice) -> Samples:
        epoch, number = divmod(step - self.first_step, self.steps_per_epoch)
        first = number * self.batch_size
        chosen = range(first, min(first + self.batch_size, len(self.samples)))[rows]
        if not self.shuffle:
            return self.samples[chosen.start : chosen.stop]
        return self.samples[self._shuffled(self.first_epoch + epoch)[chosen.start : chosen.stop]]

    def _shuffled(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.samples))
        return self._order[1]

    def loss(self, model: Stack, batch: Samples) -> Tensor:
        return self.objective.measure(model, batch, self.logs)

    def count(self, batch: Samples) -> int:
        return len(batch)

    def tokens(self, batch: Samples) -> int:
        return int(np.prod(batch.x.shape[:2]))

    def evaluate(self, model: Stack) -> dict[str, float]:
        if self.validation is None:
            return {}
        return evaluate(model, self.objective, self.validation, self.validation_batch_size)


def evaluate(model: Stack, objective: Objective, samples: Samples, batch_size: int) -> dict[str, float]:
    """The means of loss and metrics over all samples, by name, in evaluation mode."""
    averages = Averages()
    with no_grad():
        for batch in samples.batches(batch_size):
            objective.measure(model, batch, averages)
    return averages.result()


class Epochs:
    """A callback of the trainer that turns steps into epochs, and calls the Keras-shaped callbacks."""

    def __init__(self, task: ArrayTask, callbacks: Sequence[Callback], model: Any, epochs: int, validation_freq: int):
        self.task, self.callbacks, self.model, self.epochs = task, callbacks, model, epochs
        self.validation_freq = validation_freq
        self.epoch = task.first_epoch

    def begin_epoch(self) -> None:
        """Before the first step of an epoch."""
        self.task.logs = Averages()
        self._tell("on_epoch_begin", self.epoch, {})

    def __call__(self, trainer: Trainer, result: StepResult) -> None:
        batch = (result.step - 1 - self.task.first_step) % self.task.steps_per_epoch
        logs = self.task.logs.result()
        self._tell("on_train_batch_end", batch, logs)
        if batch == self.task.steps_per_epoch - 1:
            self._end_epoch(trainer, logs)
        if self.model.stop_training:
            trainer.stop("stop_training was set by a callback")

    def _end_epoch(self, trainer: Trainer, logs: dict[str, float]) -> None:
        if (self.epoch + 1) % self.validation_freq == 0:
            logs |= {f"val_{name}": value for name, value in trainer.evaluate().items()}
        self._tell("on_epoch_end", self.epoch, logs)
        self.epoch += 1
        if self.epoch < self.epochs and not self.model.stop_training:
            self.begin_epoch()

    def _tell(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*arguments)
