"""What happens between steps. A callback is any function of the trainer and the step's result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.metrics import higher_is_better

from .checkpoints import Checkpoint, save_checkpoint
from .divergence import is_suspicious
from .interrupts import Interrupts
from .run_folder import RunFolder
from .task import StatefulTask
from .trainer import Callback, StepResult, Trainer

__all__ = [
    "early_stopping",
    "metrics_record",
    "restore",
    "save_best",
    "save_checkpoints",
    "stop_on_interrupt",
    "validate",
    "write_metrics",
    "write_samples",
]


def is_due(trainer: Trainer, every: int) -> bool:
    """True every so many steps, and at the last one of the run.

    A run that is interrupted does nothing else than it would have done at this step: it could not go on with the
    same bits otherwise.
    """
    return trainer.step % every == 0 or trainer.step == trainer.steps


def validate(every: int, metric: str = "loss") -> Callback:
    """Put the task's metrics into the result, as "val_loss" and so on; remember the best step by one of them.

    metric: its name; which way it counts says `tinylm.metrics.higher_is_better`.
    """
    best, sign = f"best_val_{metric}", -1 if higher_is_better(metric) else 1

    def callback(trainer: Trainer, result: StepResult) -> None:
        if not is_due(trainer, every):
            return
        metrics = trainer.evaluate()
        result.metrics |= {f"val_{name}": value for name, value in metrics.items()}
        if metrics and sign * metrics[metric] < sign * trainer.memory.get(best, sign * float("inf")):
            trainer.memory |= {best: metrics[metric], "best_step": trainer.step}

    return callback


def save_best(save: Callable[[], None]) -> Callback:
    """Call `save` whenever validation finds the model better than ever before, or at the end without validation."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        if trainer.memory.get("best_step", trainer.steps) == trainer.step:
            with trainer.averaged():
                save()

    return callback


def early_stopping(patience: int) -> Callback:
    """Stop when `patience` validations in a row have not found a better model."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        if "val_loss" not in result.metrics:
            return
        improved = trainer.memory["best_step"] == trainer.step
        waited = 0 if improved else trainer.memory.get("validations_without_gain", 0) + 1
        trainer.memory["validations_without_gain"] = waited
        if waited >= patience:
            trainer.stop(f"early stopping: {waited} validations without a better one")

    return callback


def write_metrics(run: RunFolder) -> Callback:
    """One line in metrics.jsonl for each step."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        trainer.memory["seconds"] = trainer.memory.get("seconds", 0.0) + result.seconds
        run.append_metrics(metrics_record(trainer, result))

    return callback


def metrics_record(trainer: Trainer, result: StepResult) -> dict[str, float]:
    """What metrics.jsonl says of a step."""
    return {
        "step": result.step,
        "train_loss": result.loss,
        "learning_rate": result.learning_rate,
        "gradient_norm": result.gradient_norm,
        "tokens_per_second": result.tokens / result.seconds,
        "seconds": trainer.memory["seconds"],
        **result.metrics,
    }


def write_samples(writers: Sequence[Callable[[int, str], None]], sample: Callable[[], str], every: int) -> Callback:
    """Hand a sample of what the model does, with the step, to each writer, as often as it is validated."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        if is_due(trainer, every):
            trainer.model.eval()
            with trainer.averaged():
                text = sample()
            trainer.model.train()
            for write in writers if text else ():
                write(trainer.step, text)

    return callback


def stop_on_interrupt(interrupts: Interrupts) -> Callback:
    """Stop after the step in which Ctrl-C or SIGTERM came."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        if interrupts.requested and not trainer.is_ending:
            trainer.stop(f"interrupted by {interrupts.requested}")

    return callback


def save_checkpoints(folder: Path, every: int, *, keep: int = 2) -> Callback:
    """Save everything a resume needs, every so many steps and at the end of the run, whatever ended it.

    While the loss is suspicious (`divergence`) only the end is saved; the last good checkpoint always stays.
    """

    def callback(trainer: Trainer, result: StepResult) -> None:
        good = not is_suspicious(trainer.memory)
        if trainer.is_ending or (good and is_due(trainer, every)):
            if good:
                trainer.memory["last_good_checkpoint"] = trainer.step
            arrays, state = _snapshot(trainer)
            protect = {trainer.memory.get("last_good_checkpoint", trainer.step)}
            save_checkpoint(folder, trainer.step, arrays, state, keep=keep, protect=protect)

    return callback


def _snapshot(trainer: Trainer) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    arrays = {f"model.{name}": p.data for name, p in trainer.model.named_parameters() if p.requires_grad}
    arrays |= {f"optimizer.{name}": array for name, array in trainer.optimizer.state_dict().items()}
    if trainer.ema:
        arrays |= {f"ema.{name}": array for name, array in trainer.ema.state_dict().items()}
    if isinstance(trainer.task, StatefulTask):
        arrays |= {f"task.{name}": array for name, array in trainer.task.state_dict().items()}
    return arrays, {"step": trainer.step, "memory": trainer.memory}


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Put a trainer where the checkpoint's was. Raises TinylmError where a part of it does not fit."""
    parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}, "ema": {}, "task": {}}
    for name, array in checkpoint.arrays.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    parameters = list(trainer.model.named_parameters())
    frozen = {name: p.data for name, p in parameters if not p.requires_grad}  # what it was built with
    trained = {name: p.data for name, p in parameters if p.requires_grad}
    trainer.model.load_state_dict(frozen | parts["model"])
    # The parameters stay the views into the optimizer's buffers that they were.
    for name, parameter in parameters:
        if parameter.requires_grad:
            trained[name][...] = parameter.data
            parameter.data = trained[name]
    trainer.optimizer.load_state_dict(parts["optimizer"])
    if trainer.ema:
        trainer.ema.load_state_dict(parts["ema"])
    if isinstance(trainer.task, StatefulTask):
        trainer.task.load_state_dict(parts["task"])
    trainer.step = checkpoint.step
    trainer.memory = dict(checkpoint.state["memory"])
