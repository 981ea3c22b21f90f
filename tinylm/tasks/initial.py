"""How a run begins: with the weights of another model, with parts that are not trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.errors import TinylmError, nearest
from tinylm.formats import ModelSource, Pooling, save_adapter, save_model
from tinylm.models import LowRankSettings, Model, add_low_rank
from tinylm.nn import Initializer
from tinylm.text import Tokenizer

from .settings import TrainSettings

__all__ = ["continue_model", "freeze", "prepare_model", "save_trained"]


def continue_model(source: ModelSource, *, head: str, seed: int, **changes: Any) -> tuple[Model, list[str]]:
    """The model of a source with the head that a task needs, and the parts that are new because it has no such head.

    changes: settings of its config.json that the task decides. Weights that the source has stay as they are, mapped
    from its file; a head of another kind, or for another number of labels, is new, drawn from the seed. Raises
    TinylmError where the family has no such head, FileFormatError for a source that cannot be trusted.
    """
    family = source.family
    architecture = family.architecture_with(head)
    settings = {**source.settings, **changes, "architectures": [architecture]}
    if not changes and source.empty_model().architecture == architecture:
        return source.build(), []
    return source.build_into(family.from_settings(settings, Initializer(seed)))


def prepare_model(model: Model, settings: TrainSettings, new: Collection[str] = ()) -> None:
    """Make the model ready to be trained as the settings say: what is frozen, and what is computed again.

    new: the tensors of a model folder that the model to begin with did not have: LoRA trains them whole.
    """
    if settings.gradient_checkpointing:
        if model.gradient_checkpointing is None:
            raise TinylmError(f"gradient_checkpointing: {settings.model} has no blocks that could be computed again")
        model.gradient_checkpointing = True
    if settings.lora_rank:
        add_low_rank(model, _low_rank(settings), Initializer(settings.seed))
        parameters = dict(model.named_parameters())
        for name, stored in model.folder_names().items():
            parameters[name].requires_grad |= any(part in new for part in stored.names)
    freeze(model, settings.freeze)


def save_trained(
    folder: str | PathLike[str],
    model: Model,
    tokenizer: Tokenizer,
    card: Mapping[str, Any],
    settings: TrainSettings,
    pooling: Pooling | None = None,
) -> None:
    """Write the model as a model folder, or what LoRA has learnt as an adapter of the model that the run begins with.

    card: what `tinylm.json` says; pooling: how the model makes one vector of a text.
    """
    if settings.lora_rank:
        base = str(Path(settings.init).resolve()) if Path(settings.init).exists() else settings.init
        save_adapter(folder, model, base, _low_rank(settings), tokenizer, card, pooling)
    else:
        save_model(folder, model, tokenizer, card, pooling=pooling)


def _low_rank(settings: TrainSettings) -> LowRankSettings:
    return LowRankSettings(settings.lora_rank, settings.lora_alpha, settings.lora_dropout, settings.lora_targets)


def freeze(model: Model, patterns: Sequence[str]) -> None:
    """Do not train the parameters that a pattern names, or whose name begins with what it names up to a dot.

    "blocks.0" is all of the first block, "blocks.[0-3]" of the first four, "*.bias" all biases. Raises TinylmError for
    a pattern that names nothing, or where nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    for pattern in patterns:
        named = [name for name in parameters if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
        if not named:
            raise TinylmError(f"freeze: no part of the model is {pattern!r}{nearest(pattern, _parts(parameters))}")
        for name in named:
            parameters[name].requires_grad = False
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise TinylmError(f"freeze={','.join(patterns)} leaves nothing to train")


def _parts(names: Sequence[str] | dict[str, Any]) -> list[str]:
    """The parts that patterns may name: the first words of names, and blocks with their number."""
    parts: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        parts[".".join(words[: 2 if words[1:2] and words[1].isdecimal() else 1])] = None
    return list(parts)
