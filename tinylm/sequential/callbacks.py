"""Callbacks with Keras' names and hooks. `logs` are the means of loss and metrics, those of validation under val_."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinylm.errors import TinylmError

if TYPE_CHECKING:
    from .model import Sequential

__all__ = ["Callback", "EarlyStopping", "History", "LearningRateScheduler", "ModelCheckpoint", "ProgressLines"]

Logs = dict[str, float]


class Callback:
    """Base class: override the hooks you need. `model` is the Sequential, `params` tells epochs, steps and verbose."""

    model: Sequential
    params: dict[str, Any]

    def on_train_begin(self, logs: Logs) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """After a step, counted from 0 in each epoch; logs hold the means of the epoch so far."""


class History(Callback):
    """What `fit` returns. history: for each name in the logs its values, one an epoch; epoch: their numbers."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)


class _Monitor(Callback):
    """Keeps the best value of one name in the logs. mode: min, max, or auto, which goes by the name."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0, best: float | None = None):
        if mode not in ("auto", "min", "max"):
            raise TinylmError(f"{type(self).__name__}: mode is {mode!r}, expected auto, min or max")
        self.monitor = monitor
        self.sign = self._sign(monitor, mode)
        self.min_delta = abs(min_delta)
        self.best = best

    def _sign(self, monitor: str, mode: str) -> int:
        name = monitor.removeprefix("val_")
        if mode == "min" or (mode == "auto" and ("loss" in name or "error" in name or name in ("mse", "mae"))):
            return -1
        if mode == "max" or "acc" in name:
            return 1
        raise TinylmError(
            f"{type(self).__name__}: whether {monitor!r} should be large or small does not show in its name; "
            "give mode='min' or mode='max'"
        )

    def _value(self, logs: Logs) -> float:
        if self.monitor not in logs:
            hint = "; give validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise TinylmError(
                f"{type(self).__name__}: there is no {self.monitor!r} to monitor, only {', '.join(logs)}{hint}"
            )
        return logs[self.monitor]

    def _improves(self, value: float) -> bool:
        return self.best is None or self.sign * (value - self.best) > self.min_delta


class EarlyStopping(_Monitor):
    """Stops when `monitor` has not improved by more than min_delta for `patience` epochs.

    baseline: what it must better at first. restore_best_weights: end with the weights of the best epoch.
    start_from_epoch: epochs before that one do not count.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch

    def on_train_begin(self, logs: Logs) -> None:
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best = None
        self._best_weights: list[np.ndarray] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        value = self._value(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._improves(value):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self._best_weights = self.model.get_weights()
            if self.baseline is None or self.sign * (value - self.baseline) > self.min_delta:
                self.wait = 0
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs) -> None:
        if self._best_weights is not None:
            self.model.set_weights(self._best_weights)
        if self.verbose and self.stopped_epoch:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping; the best was epoch {self.best_epoch + 1}")


class ModelCheckpoint(_Monitor):
    """Saves the model after each epoch, or only after those in which `monitor` has improved.

    filepath: where to, formatted with `epoch`, counted from 1, and the logs: "model-{epoch:02d}.safetensors".
    save_weights_only: without the optimizer's state. initial_value_threshold: what the first one saved must better.
    """

    def __init__(
        self,
        filepath: str | Path,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath, self.verbose = str(filepath), verbose
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.save_best_only:
            value = self._value(logs)
            if not self._improves(value):
                return
            self.best = value
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except (KeyError, ValueError, IndexError) as error:
            raise TinylmError(
                f"ModelCheckpoint: filepath {self.filepath!r} asks for {error}; there are epoch, {', '.join(logs)}"
            ) from None
        self.model.save(path, include_optimizer=not self.save_weights_only)
        if self.verbose:
            print(f"Epoch {epoch + 1}: saved to {path}")


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch to schedule(epoch, rate)."""

    def __init__(self, schedule: Callable[[int, float], float], verbose: int = 0):
        self.schedule, self.verbose = schedule, verbose

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self.model.learning_rate = rate = float(self.schedule(epoch, self.model.learning_rate))
        if not (math.isfinite(rate) and rate >= 0):
            raise TinylmError(f"LearningRateScheduler: the schedule gave {rate} for epoch {epoch}, expected 0 or more")
        if self.verbose:
            print(f"Epoch {epoch + 1}: the learning rate is {rate:.4g}")


class ProgressLines(Callback):
    """Prints a line an epoch, which grows step by step on a terminal (verbose 1) or is written at its end (2)."""

    def __init__(self, verbose: int):
        self.live = verbose == 1 and sys.stdout.isatty()

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        print(f"Epoch {epoch + 1}/{self.params['epochs']}")
        self._begin = self._shown = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        now = time.perf_counter()
        if self.live and now - self._shown > 0.1:
            self._shown = now
            print(f"\r{self._line(batch + 1, logs)}", end="", flush=True)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        print(("\r" if self.live else "") + self._line(self.params["steps"], logs), flush=True)

    def _line(self, step: int, logs: Logs) -> str:
        steps, seconds = self.params["steps"], time.perf_counter() - self._begin
        done = 20 * step // steps
        figures = " - ".join(f"{name}: {_figure(value)}" for name, value in logs.items())
        bar = "━" * done + " " * (20 - done)
        return f"{step}/{steps} {bar} {seconds:.0f}s {seconds / step * 1e3:.0f}ms/step - {figures}"


def _figure(value: float) -> str:
    return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.4e}"
