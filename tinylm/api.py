"""Training from Python in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from tinylm.data import Progress
from tinylm.data.augment import Change
from tinylm.errors import TinylmError
from tinylm.tasks import (
    STEERING,
    TrainedRun,
    TrainSettings,
    choose_settings,
    resolve_settings,
    resume_settings,
    run_training,
)
from tinylm.tasks import find_learning_rate as _find_learning_rate
from tinylm.training import Callback, RangeTest

__all__ = ["find_learning_rate", "train"]


def train(
    data: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    preset: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
    change: Change | None = None,
    **settings: Any,
) -> TrainedRun:
    """Train a model for a task and return the run; `tinylm.load(run.best)` opens its best weights.

    data: files, folders and patterns of what the task learns from; for language modelling, which it is unless `task`
    says otherwise, text, JSON Lines, CSV or Parquet, or the built-in text where empty. preset: a name among those of
    the task, where None the one for the model. out: the run folder, a new one under runs/ if None. resume: a run folder
    to continue; of its settings only those in `tinylm.tasks.STEERING` may change. notify: told in one line each what
    happens; progress: told how far the reading of large data is (what is done, how many bytes of how many).
    change: made anew in each text to learn from (docs/augmentation.md), beside what the setting augment names.
    settings: those of `tinylm.tasks.TrainSettings` and of the task (docs/tasks.md): init names a model to begin with;
    an optimizer brings its own rate and decay, unless they are given. Raises TinylmError for settings that do not exist
    or do not fit, and for data that cannot be used; DivergedError, with what to do, where the loss or the gradients
    blow up.
    """
    settings |= _data_setting(data)
    chosen = choose_settings(preset, settings) if resume is None else _steer(resume_settings(resume), settings, resume)
    return run_training(
        chosen,
        out=out,
        resume=resume,
        callbacks=callbacks,
        notify=notify,
        progress=progress,
        change=change,
    )


def find_learning_rate(
    data: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    preset: str | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
    **settings: Any,
) -> RangeTest:
    """Train a new model for some steps while the rate rises, and return the curve: `suggested` is a rate to train with.

    lowest, highest: the first and the last rate; it ends where the loss blows up. Nothing is kept. The rest is as in
    `train`.
    """
    return _find_learning_rate(
        choose_settings(preset, settings | _data_setting(data)),
        lowest=lowest,
        highest=highest,
        steps=steps,
        callbacks=callbacks,
        notify=notify,
        progress=progress,
    )


def _data_setting(data: str | PathLike[str] | Sequence[str | PathLike[str]]) -> dict[str, Any]:
    paths = [data] if isinstance(data, (str, PathLike)) else list(data)
    return {"data": tuple(str(path) for path in paths)} if paths else {}


def _steer(own: TrainSettings, settings: dict[str, Any], resume: str | PathLike[str]) -> TrainSettings:
    """The settings of a run with those of its new ones that may change."""
    asked = resolve_settings({"task": own.task}, settings)
    changed = {name: getattr(asked, name) for name in settings if getattr(asked, name) != getattr(own, name)}
    refused = [f"{name}={changed[name]} (the run has {getattr(own, name)})" for name in changed if name not in STEERING]
    if refused:
        raise TinylmError(
            f"{resume}: a run is continued with its own settings, not with {', '.join(refused)}; "
            f"{', '.join(STEERING)} may change"
        )
    return dataclasses.replace(own, **changed)
