"""Training from Python in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

from tinylm.data import Progress
from tinylm.errors import TinylmError
from tinylm.tasks import (
    OPTIMIZER_SETTINGS,
    PRESETS,
    STEERING,
    TrainedRun,
    TrainSettings,
    resolve_settings,
    resume_settings,
    train_language_model,
)
from tinylm.training import Callback

__all__ = ["train"]


def train(
    data: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    preset: str | None = None,
    out: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
    **settings: Any,
) -> TrainedRun:
    """Train a language model and return the run; `tinylm.load(run.best)` opens its best weights.

    data: files, folders and patterns of text, JSON Lines, CSV or Parquet; the built-in text where empty. preset: a name
    from `tinylm.tasks.PRESETS`, where None the one for the model. out: the run folder, a new one under runs/ if None.
    resume: a run folder to continue; of its settings only those in `tinylm.tasks.STEERING` may change. notify: told in
    one line each what happens; progress: told how far the reading of large data is (what is done, how many bytes of how
    many). settings: those of `tinylm.tasks.TrainSettings`; an optimizer brings its own rate and decay, unless they are
    given. Raises TinylmError for settings that do not exist or do not fit, and for data that cannot be used;
    DivergedError, with what to do, where the loss or the gradients blow up.
    """
    paths = [data] if isinstance(data, (str, PathLike)) else list(data)
    if paths:
        settings["data"] = tuple(str(path) for path in paths)
    if resume is not None:
        chosen = _steer(resume_settings(resume), settings, resume)
    else:
        name = preset or ("lstm" if settings.get("model") == "lstm" else "default")
        if name not in PRESETS:
            raise TinylmError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
        chosen = resolve_settings(PRESETS[name], OPTIMIZER_SETTINGS.get(settings.get("optimizer", ""), {}), settings)
    return train_language_model(
        chosen,
        out=out,
        resume=resume,
        callbacks=callbacks,
        notify=notify,
        progress=progress,
    )


def _steer(own: TrainSettings, settings: dict[str, Any], resume: str | PathLike[str]) -> TrainSettings:
    """The settings of a run with those of its new ones that may change."""
    asked = resolve_settings(settings)
    changed = {name: getattr(asked, name) for name in settings if getattr(asked, name) != getattr(own, name)}
    refused = [f"{name}={changed[name]} (the run has {getattr(own, name)})" for name in changed if name not in STEERING]
    if refused:
        raise TinylmError(
            f"{resume}: a run is continued with its own settings, not with {', '.join(refused)}; "
            f"{', '.join(STEERING)} may change"
        )
    return dataclasses.replace(own, **changed)
