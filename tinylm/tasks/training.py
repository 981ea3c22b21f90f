"""A training run in its folder: begun or continued, with callbacks, interrupts, and what to do when it diverges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.data import Progress
from tinylm.data.augment import Change
from tinylm.errors import DivergedError, TinylmError
from tinylm.extras import import_extra
from tinylm.models import Model
from tinylm.text import Tokenizer, load_tokenizer
from tinylm.training import (
    Callback,
    Interrupts,
    RunFolder,
    TensorBoard,
    Trainer,
    discard_checkpoints,
    early_stopping,
    load_checkpoint,
    restore,
    save_best,
    save_checkpoints,
    stop_on_divergence,
    stop_on_interrupt,
    validate,
    write_metrics,
    write_samples,
)

from .building import build_trainer
from .initial import save_trained
from .kind import TaskKind
from .settings import TrainSettings, settings_to_json
from .table import find_task, resolve_settings

__all__ = ["TrainedRun", "resume_settings", "run_training"]


@dataclass
class TrainedRun:
    """What a run left behind. folder: holds the best weights in best/; stopped: why it ended early, or None."""

    folder: Path
    kind: TaskKind  # the task, on the data of the run
    tokenizer: Tokenizer
    model: Any  # as it was at the last step
    trainer: Trainer
    stopped: str | None

    def best_metrics(self) -> dict[str, Any]:
        """What metrics.jsonl says of the step with the best validation, {} where there was none."""
        best_step = self.trainer.memory.get("best_step")
        return next((m for m in RunFolder.open(self.folder).metrics() if m["step"] == best_step), {})

    def last_sample(self) -> str:
        """What the model did when it was last asked for a sample, "" if it never was."""
        samples = RunFolder.open(self.folder).read_samples()
        return samples[-1][1].strip() if samples else ""

    @property
    def best(self) -> Path:
        """The model folder with the best weights."""
        return self.folder / "best"


def run_training(
    settings: TrainSettings,
    *,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
    change: Change | None = None,
) -> TrainedRun:
    """Train a model for the task of the settings into a run folder, or continue the run in one.

    out: the folder, a new one under runs/ where None. resume: a run folder; its settings must be these, but for
    STEERING.
    notify: told in one line each what happens; progress: how far the reading of large data is. change: made in the
    texts to learn from, beside those of the settings; a run that is resumed takes it again. Raises TinylmError or
    OSError with what is wrong and what to do; what was trained until then is kept.
    """
    if settings.track == "tensorboard":
        import_extra("tensorboardX", "track=tensorboard")  # or refused before anything is made
    kind = find_task(settings.task)(settings, notify=notify, progress=progress, change=change)
    begun = None if resume is None else _reopen(resume, kind)
    tokenizer = kind.build_tokenizer() if begun is None else _resume_tokenizer(begun, kind)
    task = kind.load(tokenizer)
    model = kind.build_model(tokenizer)
    trainer = build_trainer(settings, model, task, notify=notify)
    run = begun or RunFolder.create(out, settings_to_json(settings), data_fingerprint=kind.fingerprint)
    if begun is None:
        tokenizer.save(run.path)
    notify(f"data: {kind.describe(tokenizer)}; model: {settings.model}, {_size(model)}")
    with run.lock(), Interrupts() as interrupts, ExitStack() as stack:
        if begun is not None:
            _continue(settings, trainer, run, notify)
        trainer.callbacks += _callbacks(kind, run, model, tokenizer, interrupts, stack)
        trainer.callbacks += callbacks
        try:
            trainer.run()
        except DivergedError as error:
            raise _with_advice(error, settings, run, trainer) from None
        run.end("interrupted" if interrupts.requested else "finished", trainer.stopped or "")
    return TrainedRun(run.path, kind, tokenizer, model, trainer, trainer.stopped)


def _size(model: Model) -> str:
    """How many parameters a model has, and how many of them are trained."""
    total, trained = sum(parameter.size for parameter in model.parameters()), model.num_parameters()
    return f"{total:,} parameters" + (f", {trained:,} of them trained" if trained < total else "")


def _reopen(folder: str | PathLike[str], kind: TaskKind) -> RunFolder:
    run = RunFolder.open(folder)
    if run.provenance.get("data_fingerprint") != kind.fingerprint:
        raise TinylmError(f"{run.path}: the data have changed since this run began; start a new run instead")
    return run


def _resume_tokenizer(run: RunFolder, kind: TaskKind) -> Tokenizer:
    """The tokenizer that a run began with: it wrote it down, unless it was stopped before its first step."""
    return load_tokenizer(run.path) if (run.path / "tokenizer.json").exists() else kind.build_tokenizer()


def _continue(settings: TrainSettings, trainer: Trainer, run: RunFolder, notify: Callable[[str], None]) -> None:
    checkpoint = load_checkpoint(run.checkpoints)
    for name, reason in checkpoint.skipped:
        notify(f"checkpoint {name} is damaged ({reason}): falling back to step {checkpoint.step}")
    restore(trainer, checkpoint)
    run.change_config(settings_to_json(settings), step=checkpoint.step)
    run.truncate_metrics(checkpoint.step)
    notify(f"continuing {run.path} at step {checkpoint.step} of {trainer.steps}")


def _with_advice(error: DivergedError, settings: TrainSettings, run: RunFolder, trainer: Trainer) -> DivergedError:
    """The error with what to do about it, once the last good checkpoint is the newest."""
    lower = f"--set learning_rate={settings.learning_rate / 3:.1g}"
    good = trainer.memory.get("last_good_checkpoint")
    if good is None:
        advice = f"No checkpoint was saved: start again with a lower rate, {lower}, or a longer warm-up"
    else:
        discard_checkpoints(run.checkpoints, after=good)
        advice = (
            f"From the last good checkpoint, step {good}, with a lower rate: tinylm train --resume {run.path} {lower}"
        )
    return type(error)(f"{error}. {advice}")


def _callbacks(
    kind: TaskKind,
    run: RunFolder,
    model: Model,
    tokenizer: Tokenizer,
    interrupts: Interrupts,
    stack: ExitStack,
) -> list[Callback]:
    """In this order: each reads what those before it have put into the result. stack: closes what they hold open."""
    settings = kind.settings
    chosen = [stop_on_interrupt(interrupts), validate(settings.validate_every, kind.metric_of(settings))]
    if settings.patience:
        chosen.append(early_stopping(settings.patience))
    card = {"task": {"name": kind.name, **kind.use()}, **run.provenance}
    save = partial(save_trained, run.best, model, tokenizer, card, settings, kind.pooling())
    boards = [stack.enter_context(TensorBoard(run.path / "tensorboard"))] if settings.track == "tensorboard" else []
    sample = partial(kind.sample, model, tokenizer)
    chosen += [
        save_best(save),
        write_samples([run.append_sample, *(board.add_sample for board in boards)], sample, settings.validate_every),
        write_metrics(run),
        *boards,
    ]
    if settings.divergence:
        chosen.append(stop_on_divergence(settings.divergence))
    chosen.append(save_checkpoints(run.checkpoints, settings.checkpoint_every))
    return chosen


def resume_settings(folder: str | PathLike[str]) -> TrainSettings:
    """The settings of the run in a folder."""
    return resolve_settings(RunFolder.open(folder).config)
