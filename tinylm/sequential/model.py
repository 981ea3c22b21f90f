"""Sequential: layers one after the other, with Keras' compile, fit, evaluate and predict on the one trainer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinylm import optim
from tinylm.autograd import Tensor, no_grad
from tinylm.errors import TinylmError
from tinylm.nn import random_step
from tinylm.training import Trainer

from . import losses, metrics, optimizers
from .callbacks import Callback, History, ProgressLines
from .data import Samples, as_array, class_weights, split_off
from .fitting import ArrayTask, Epochs, Objective, evaluate
from .layer import Layer
from .layered import Layered
from .layers import Input

__all__ = ["Sequential"]


class Sequential(Layered):
    """A model made of layer descriptions. Its weights are made when the shape of its input is known.

        model = Sequential([Embedding(10000, 64), LSTM(64), Dense(1, activation="sigmoid")])
        model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
        model.fit(x, y, epochs=10, batch_size=64)

    layers: an `Input` may stand first. seed: of the first weights, the order of the samples and dropout; the same
    seed gives the same numbers.
    """

    def __init__(self, layers: Iterable[Layer | Input] = (), name: str = "sequential", *, seed: int = 0):
        super().__init__(layers, name, seed)
        self.stop_training = False
        self.history: History | None = None
        self.learning_rate = 0.0
        self._objective: Objective | None = None
        self._optimizer: optimizers.Optimizer | None = None
        self._updates: optim.Optimizer | None = None
        self._metrics: tuple[Any, ...] = ()
        self._loss: losses.Loss | None = None
        self.steps = 0  # taken over all calls of fit

    # Training

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
    ) -> None:
        """Choose how to train: an optimizer, a loss and metrics, each by its name or as an object."""
        self._optimizer = optimizers.get(optimizer)
        self._loss = None if loss is None else losses.get(loss)
        self._metrics = tuple(metrics or ())
        self._objective = self._updates = None
        self.learning_rate = self._optimizer.rate(0)

    @property
    def compile_settings(self) -> tuple[optimizers.Optimizer, losses.Loss | None, tuple[Any, ...]] | None:
        """Optimizer, loss and metrics as compiled; None before that."""
        return None if self._optimizer is None else (self._optimizer, self._loss, self._metrics)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train for some epochs and return the History; arguments as in Keras.

        batch_size: samples a step, 32 where None. validation_split: the last share of the samples, not trained on.
        validation_data: (x, y) or (x, y, sample_weight). Raises TinylmError for what is missing or does not fit, and
        NonFiniteError, before the weights are touched, where the loss or a gradient is not finite.
        """
        samples = self._samples(x, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._samples(*_as_three(validation_data))
        elif validation_split:
            samples, validation = split_off(samples, validation_split)
        if class_weight is not None:
            weights = class_weights(class_weight, samples.y)
            samples = Samples(samples.x, samples.y, weights * _alongside(samples.weights, weights.ndim))
        task = ArrayTask(
            samples,
            self._compiled(),
            batch_size=_batch_size(batch_size, len(samples)),
            shuffle=shuffle,
            seed=self.seed,
            first_step=self.steps,
            first_epoch=initial_epoch,
            validation=validation,
            validation_batch_size=validation_batch_size,
        )
        level = 1 if verbose == "auto" else int(verbose)
        return self._train(task, epochs, level, list(callbacks or ()), validation_freq)

    def _train(
        self, task: ArrayTask, epochs: int, verbose: int, callbacks: list[Callback], validation_freq: int
    ) -> History:
        self.history = History()
        chosen = [*([ProgressLines(verbose)] if verbose else []), self.history, *callbacks]
        for callback in chosen:
            callback.model = self
            callback.params = {"verbose": verbose, "epochs": epochs, "steps": task.steps_per_epoch}
        steps = self.steps + max(epochs - task.first_epoch, 0) * task.steps_per_epoch
        bridge = Epochs(task, chosen, self, epochs, validation_freq)
        trainer = self._trainer(task, steps, [bridge])
        self.stop_training = False
        for callback in chosen:
            callback.on_train_begin({})
        if trainer.step < steps:
            bridge.begin_epoch()
        trainer.run()
        self.steps = trainer.step
        for callback in chosen:
            callback.on_train_end({})
        return self.history

    def _trainer(self, task: ArrayTask, steps: int, callbacks: list[Any]) -> Trainer:
        assert self._optimizer is not None
        trainer = Trainer(
            self.stack,
            task,
            self.updates,
            self._rate,
            steps=steps,
            seed=self.seed,
            clip=self._optimizer.global_clipnorm,
            callbacks=callbacks,
        )
        trainer.step = self.steps
        return trainer

    def _rate(self, step: int) -> float:
        assert self._optimizer is not None
        if callable(self._optimizer.learning_rate):
            self.learning_rate = self._optimizer.rate(step)
        return self.learning_rate

    @property
    def updates(self) -> optim.Optimizer:
        """The optimizer over the weights, with its state, made at first use."""
        if self._updates is None:
            self._require_compiled()
            assert self._optimizer is not None
            self._updates = self._optimizer.build([p for p in self.stack.parameters() if p.requires_grad])
        return self._updates

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """One step on these samples; the loss and the metrics as they were before it."""
        samples = self._samples(x, y, sample_weight)
        task = ArrayTask(samples, self._compiled(), batch_size=len(samples), first_step=self.steps)
        trainer = self._trainer(task, self.steps + 1, [])
        trainer.run()
        self.steps = trainer.step
        return self._answer(task.logs.result(), return_dict)

    # Use

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss, or [loss, *metrics], or all by name, over these samples in evaluation mode."""
        samples = self._samples(x, y, sample_weight)
        logs = evaluate(self.stack.eval(), self._compiled(), samples, _batch_size(batch_size, len(samples)))
        if verbose:
            print(" - ".join(f"{name}: {value:.4f}" for name, value in logs.items()))
        return self._answer(logs, return_dict)

    def _answer(self, logs: dict[str, float], return_dict: bool) -> Any:
        if return_dict:
            return logs
        values = [logs["loss"], *[logs[metric.name] for metric in self._compiled().metrics]]
        return values if len(values) > 1 else values[0]

    def predict(self, x: Any, batch_size: int | None = None, verbose: int | str = "auto") -> np.ndarray:
        """The outputs for these samples, in evaluation mode, batch_size (32) at a time."""
        inputs = self.inputs(x)
        size = _batch_size(batch_size, len(inputs))
        model = self.stack.eval()
        with no_grad():
            parts = [model(inputs[first : first + size])[0].data for first in range(0, len(inputs), size)]
        return np.concatenate(parts)

    def __call__(self, x: Any, training: bool = False) -> Tensor:
        """The outputs as a Tensor with a graph. training: with dropout, the masks of the step that is next."""
        inputs = self.inputs(x)
        self.stack.train(training)
        with random_step(seed=self.seed, step=self.steps):
            return self.stack(inputs)[0]

    def save(self, filepath: str | os.PathLike[str], include_optimizer: bool = True) -> None:
        """Write the model to one file that `load_model` opens; the name says in which format (docs/keras.md).

        `.safetensors` keeps all, the optimizer's state too; `.keras` and `.h5` are Keras' own, with layers and weights.
        """
        from .saving import save_model

        save_model(self, filepath, include_optimizer=include_optimizer)

    def save_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Write the weights alone for Keras' `load_weights`: `.weights.h5` as Keras 3 does, `.h5` as Keras 2 does."""
        from .keras_files import save_keras_weights

        save_keras_weights(self, Path(filepath))

    def load_weights(self, filepath: str | os.PathLike[str]) -> None:
        """Take over the weights in a file of Keras', of any version, for the same layers. Raises FileFormatError."""
        from .keras_files import load_keras_weights

        load_keras_weights(self, Path(filepath))

    # What the user gives, checked

    def _samples(self, x: Any, y: Any, sample_weight: Any = None) -> Samples:
        self._require_compiled()
        if x is None or y is None:
            raise TinylmError("give inputs x and targets y")
        inputs = self.inputs(x)
        weights = None if sample_weight is None else as_array("sample_weight", sample_weight)
        samples = Samples(inputs, as_array("y", y), weights)
        return samples.with_targets(self._compiled().loss, self._shapes(inputs.shape[1:])[-1])

    def _require_compiled(self) -> None:
        if self._optimizer is None:
            raise TinylmError("call compile() before training or evaluating the model")
        if self._loss is None:
            raise TinylmError("no loss to compute; give one to compile(loss=...)")

    def _compiled(self) -> Objective:
        self._require_compiled()
        if self._objective is None:
            assert self._loss is not None
            classes = self.output_shapes()[-1][-1]
            self._objective = Objective(self._loss, tuple(metrics.get(m, classes) for m in self._metrics))
        return self._objective


def _as_three(given: Sequence[Any]) -> tuple[Any, ...]:
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        raise TinylmError("validation_data must be (x, y) or (x, y, sample_weight)")
    return tuple(given)


def _alongside(weights: np.ndarray | None, axes: int) -> Any:
    """Weights of samples with as many axes as those of elements have."""
    return 1.0 if weights is None else weights.reshape(*weights.shape, *[1] * (axes - weights.ndim))


def _batch_size(batch_size: int | None, samples: int) -> int:
    if batch_size is not None and batch_size < 1:
        raise TinylmError(f"batch_size is {batch_size}, expected at least 1")
    return min(batch_size or 32, samples)
