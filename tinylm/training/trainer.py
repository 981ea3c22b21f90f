"""The training loop. It knows no task and no model by name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.errors import DivergedError, TinylmError
from tinylm.nn import Module, random_step
from tinylm.optim import EMA, Optimizer, Schedule, clip_scale

from .task import Task

__all__ = ["Callback", "NonFiniteError", "StepResult", "Trainer"]


class NonFiniteError(DivergedError):
    """The loss or a gradient is not a finite number; the weights have not been touched by it."""


@dataclass
class StepResult:
    """What came of one step. seconds: the time it took; metrics: what callbacks add, such as "val_loss"."""

    step: int  # counted from 1: how many steps have been taken
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


Callback = Callable[["Trainer", StepResult], None]


class Trainer:
    """Takes the steps of a run and calls each callback after each of them.

    Everything a step does is a function of (seed, step): a run that is stopped, saved and continued gives the same
    bits as one that was not.

    clip: the largest global norm of the gradients, None for no limit. accumulate: into how many slices the batch of
    a step is cut, to need less memory; the result is the same but for rounding. precision: that of the matrix products
    of training; what is measured is measured in float32. ema: the running mean of the weights that is measured and kept
    instead of them.
    """

    def __init__(
        self,
        model: Module,
        task: Task,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        steps: int,
        seed: int = 0,
        clip: float | None = 1.0,
        accumulate: int = 1,
        precision: str = "float32",
        ema: EMA | None = None,
        callbacks: Sequence[Callback] = (),
    ):
        if not 1 <= accumulate <= task.batch_size:
            raise TinylmError(f"accumulate is {accumulate}, expected 1 to the batch size, {task.batch_size}")
        self.model, self.task, self.optimizer, self.schedule = model, task, optimizer, schedule
        self.steps, self.seed, self.clip, self.accumulate = steps, seed, clip, accumulate
        self.precision, self.ema, self.callbacks = precision, ema, list(callbacks)
        self.step = 0
        self.stopped: str | None = None
        # What callbacks need to remember across a stop and a resume: numbers and texts by name.
        self.memory: dict[str, Any] = {}

    def run(self) -> None:
        """Take the steps that are left, until a callback calls `stop`."""
        self.model.train()
        while self.step < self.steps and self.stopped is None:
            result = self.train_step()
            for callback in self.callbacks:
                callback(self, result)
        self.model.eval()

    def stop(self, reason: str) -> None:
        """End the run after this step."""
        self.stopped = reason

    @property
    def is_ending(self) -> bool:
        """Whether this step is the run's last."""
        return self.stopped is not None or self.step >= self.steps

    def train_step(self) -> StepResult:
        """One update of the weights. Raises NonFiniteError before it touches them."""
        begin = time.perf_counter()
        self.optimizer.zero_grad()
        loss, tokens = self._forward_backward()
        norm = self.optimizer.gradient_norm()
        if not (math.isfinite(norm) and math.isfinite(loss)):
            raise NonFiniteError(self._what_is_not_finite(loss))
        rate = self.schedule(self.step)
        self.optimizer.step(rate, scale=clip_scale(norm, self.clip))
        if self.ema:
            self.ema.update()
        self.step += 1
        return StepResult(self.step, loss, rate, norm, tokens, time.perf_counter() - begin)

    def averaged(self) -> AbstractContextManager[None]:
        """A block in which the model has the weights that are measured and kept: their mean, where there is one."""
        return self.ema.applied() if self.ema else nullcontext()

    def evaluate(self) -> dict[str, float]:
        """The task's metrics for the weights that are kept, in evaluation mode."""
        self.model.eval()
        try:
            with self.averaged():
                return self.task.evaluate(self.model)
        finally:
            self.model.train()

    def _forward_backward(self) -> tuple[float, int]:
        """The loss of the batch, with its gradients in the optimizer's buffers, and the tokens it read."""
        edges = [self.task.batch_size * part // self.accumulate for part in range(self.accumulate + 1)]
        slices = [slice(first, end) for first, end in pairwise(edges)]
        batches = [self.task.batch(self.step, rows) for rows in slices]
        counts = [self.task.count(batch) for batch in batches]
        total = sum(counts) or 1
        mean = 0.0
        for rows, batch, count in zip(slices, batches, counts, strict=True):
            with random_step(seed=self.seed, step=self.step, first_row=rows.start), K.precision(self.precision):
                loss = self.task.loss(self.model, batch)
                loss.backward(count / total)
            mean += loss.item() * (count / total)
        return mean, sum(self.task.tokens(batch) for batch in batches)

    def _what_is_not_finite(self, loss: float) -> str:
        trained = [(name, p.grad) for name, p in self.model.named_parameters() if p.requires_grad]
        wrong = [name for name, gradient in trained if not np.isfinite(gradient).all()]
        where = f"the gradient of {wrong[0]} ({len(wrong)} parameters in all)" if wrong else "the loss"
        return (
            f"step {self.step + 1}: {where} is not finite (loss {loss:.4g}); the batch is rows "
            f"0..{self.task.batch_size - 1} of step {self.step} with seed {self.seed}. The weights are those "
            "of the step before"
        )
