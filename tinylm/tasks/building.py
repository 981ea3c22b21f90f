"""From settings to the trainer of a model on a task."""

from __future__ import annotations

from collections.abc import Callable

from tinylm.models import Model
from tinylm.optim import EMA, make_optimizer, make_schedule
from tinylm.training import Task, Trainer
from tinylm_kernels import why_not_bfloat16

from .settings import TrainSettings

__all__ = ["build_trainer"]


def build_trainer(settings: TrainSettings, model: Model, task: Task, *, notify: Callable[[str], None]) -> Trainer:
    """A trainer of a model on a task, with the optimizer and the schedule of the settings, and no callbacks.

    It trains in float32 where this machine cannot multiply fast in the precision of the settings; notify is told.
    """
    optimizer = make_optimizer(
        settings.optimizer,
        model,
        weight_decay=settings.weight_decay,
        beta1=settings.beta1,
        beta2=settings.beta2,
        eps=settings.eps,
    )
    schedule = make_schedule(
        settings.schedule,
        peak=settings.learning_rate,
        final=settings.final_learning_rate,
        warmup=settings.warmup_steps,
        steps=settings.steps,
        decay_share=settings.decay_share,
        decay_shape=settings.decay_shape,
        power=settings.power,
    )
    return Trainer(
        model,
        task,
        optimizer,
        schedule,
        steps=settings.steps,
        seed=settings.seed,
        clip=settings.clip or None,
        accumulate=settings.accumulate,
        precision=_precision(settings, notify),
        ema=EMA(optimizer.groups, settings.ema) if settings.ema else None,
    )


def _precision(settings: TrainSettings, notify: Callable[[str], None]) -> str:
    """The precision of the settings, where this machine gains from it."""
    if settings.precision == "bfloat16":
        reason = why_not_bfloat16()
        if reason is not None:
            notify(f"precision: float32, since bfloat16 is no gain here: {reason}")
            return "float32"
        notify("precision: bfloat16 for the matrix products of training, float32 for the rest")
    return settings.precision
