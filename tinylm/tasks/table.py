"""The tasks by name, and how the settings of a run are found among theirs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tinylm.errors import TinylmError, nearest
from tinylm.formats import open_model
from tinylm.models import FAMILIES, Model

from .classification import Classification
from .dialogue import Dialogue
from .embeddings import Embeddings
from .kind import TaskKind
from .masked import Masked
from .questions import Questions
from .reading import Reading
from .settings import LORA_SETTINGS, OF_NEW_MODELS, OPTIMIZER_SETTINGS, TrainSettings, read_settings
from .spans import Spans
from .summaries import Summaries
from .translation import Translation
from .writing import Writing

__all__ = ["TASKS", "choose_settings", "find_task", "resolve_settings", "task_of"]

KINDS = (Writing, Masked, Spans, Classification, Translation, Summaries, Questions, Reading, Dialogue, Embeddings)
TASKS: dict[str, type[TaskKind]] = {kind.name: kind for kind in KINDS}
DEFAULT_TASK = Writing.name


def find_task(name: str) -> type[TaskKind]:
    """The kind of task of this name. Raises TinylmError, with the nearest name, where there is none."""
    if name not in TASKS:
        raise TinylmError(f"there is no task {name!r}{nearest(name, TASKS)}")
    return TASKS[name]


def task_of(model: Model, name: str | None = None) -> type[TaskKind]:
    """The kind of task of a trained model: the one it was trained for, where its name is known, or one with its head.

    Raises TinylmError for a model that ends in nothing that a task trains.
    """
    if name in TASKS:
        return TASKS[name]
    heads = FAMILIES[model.model_type].architectures()
    kind = next((kind for kind in TASKS.values() if heads.get(kind.head) == model.architecture), None)
    if kind is None:
        raise TinylmError(f"{model.architecture} predicts nothing that could be measured")
    return kind


def resolve_settings(*layers: Mapping[str, Any]) -> TrainSettings:
    """The settings, of the task that they name, after each layer has overridden those before it.

    Raises TinylmError for a name that does not exist, with the nearest that does or with the tasks that have it, and
    for a value that does not fit.
    """
    kind = find_task(_last("task", layers, DEFAULT_TASK))
    known = kind.settings_class.__dataclass_fields__
    for name in (name for layer in layers for name in layer if name not in known):
        others = [other.name for other in TASKS.values() if name in other.settings_class.__dataclass_fields__]
        if others:
            raise TinylmError(f"the setting {name!r} belongs to the task {' or '.join(others)}, not to {kind.name}")
    return read_settings(kind.settings_class, layers)


def choose_settings(preset: str | None, settings: Mapping[str, Any]) -> TrainSettings:
    """The settings of a new run: a preset's, the optimizer's, what the model to begin with needs, and the user's.

    preset: a name among the task's; where None, that of the model, or the default one. The user's weigh most.
    """
    kind = find_task(settings.get("task", DEFAULT_TASK))
    name = preset or (settings["model"] if settings.get("model") in kind.presets else "default")
    if name not in kind.presets:
        raise TinylmError(f"there is no preset {name!r}{nearest(name, kind.presets)}")
    optimizer = OPTIMIZER_SETTINGS.get(settings.get("optimizer", ""), {})
    tuned = kind.tuned if settings.get("init") else {}
    lora = LORA_SETTINGS if settings.get("lora_rank") not in (None, 0, "0") else {}
    chosen = resolve_settings(kind.presets[name], optimizer, tuned, lora, settings)
    return _begin_with(chosen, settings) if chosen.init else chosen


def _begin_with(chosen: TrainSettings, asked: Mapping[str, Any]) -> TrainSettings:
    """The settings as the model that the run begins with makes them. asked: those that the user has named."""
    if refused := [name for name in OF_NEW_MODELS if name in asked]:
        raise TinylmError(f"{chosen.init} brings its own {', '.join(refused)}: leave out what is for a new model")
    source = open_model(chosen.init)
    context = getattr(source.empty_model(), "context", None) or chosen.context
    if "context" in asked and context < chosen.context:
        raise TinylmError(f"context={chosen.context}, and {chosen.init} can look at {context} tokens")
    return dataclasses.replace(chosen, model=source.family.model_type, context=min(context, chosen.context))


def _last(name: str, layers: Iterable[Mapping[str, Any]], default: str) -> str:
    return next((layer[name] for layer in [*layers][::-1] if name in layer), default)
