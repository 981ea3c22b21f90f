"""A Keras-shaped model in one safetensors file, and back.

The weights are tensors "layers.INDEX.NAME" in Keras' layout and under its names, the optimizer's state
"optimizer.NAME". The file's metadata hold `format` "tinylm sequential", `version` "1", and `config`: JSON with the
name, the seed, the shape of the input, the layers, what was compiled, and the steps taken; docs/keras.md has its
fields.
"""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import parse_json
from tinylm.formats import read_metadata, read_safetensors, write_safetensors

from . import layers, losses, optimizers
from .keras_files import is_keras_file, load_keras_model, save_keras_model
from .model import Sequential

__all__ = ["load_model", "save_model"]

FORMAT, VERSION = "tinylm sequential", "1"

LAYERS = {name: getattr(layers, name) for name in layers.__all__ if name != "Input"}
LOSSES = {kind.__name__: kind for kind in losses.LOSSES.classes.values()}
OPTIMIZERS = {kind.__name__: kind for kind in optimizers.OPTIMIZERS.classes.values()}


def save_model(model: Sequential, path: str | os.PathLike[str], *, include_optimizer: bool = True) -> None:
    """Write the model, whole or not at all, in the format that the name says. Raises TinylmError."""
    file = Path(path)
    if is_keras_file(file):
        return save_keras_model(model, file)
    tensors = {f"layers.{number}.{name}": array for number, name, array in _weights(model)}
    config = {
        "name": model.name,
        "seed": model.seed,
        "input_shape": list(model.input.shape) if model.input else None,
        "layers": [_describe(layer) for layer in model.layers],
        "compile": _compiled(model),
        "steps": model.steps,
    }
    if include_optimizer and config["compile"] is not None:
        tensors |= {f"optimizer.{name}": array for name, array in model.updates.state_dict().items()}
    notes = {"format": FORMAT, "version": VERSION, "config": json.dumps(config)}
    write_safetensors(file, tensors, notes)


def load_model(path: str | os.PathLike[str]) -> Sequential:
    """The model in a file that `Sequential.save` wrote, ready to predict, and to train on where it was compiled; or in
    a `.keras` or `.h5` file of Keras', of any version, which is not compiled then.

    Raises FileFormatError, naming the file and what is wrong, for any other.
    """
    file = Path(path)
    if is_keras_file(file):
        return load_keras_model(file)
    notes, tensors = read_metadata(file), read_safetensors(file)
    if notes.get("format") != FORMAT:
        raise FileFormatError(file, f"not a model of Sequential.save: its format is {notes.get('format')!r}")
    if notes.get("version") != VERSION:
        raise FileFormatError(file, f"written in version {notes.get('version')!r} of the format, expected {VERSION!r}")
    config = parse_json(notes.get("config", "").encode("utf-8"), file)
    try:
        return _rebuild(config, tensors)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(file, f"its config does not describe a model: {reason}") from None


def _rebuild(config: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Sequential:
    described = [_instance(LAYERS, layer) for layer in config["layers"]]
    model = Sequential(described, config["name"], seed=config["seed"])
    if config["input_shape"] is None:
        return model
    model.build((None, *config["input_shape"]))
    parts: dict[str, dict[str, np.ndarray]] = {"layers": {}, "optimizer": {}}
    for name, array in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = array
    expected = [f"{number}.{name}" for number, name, _ in _weights(model)]
    if sorted(expected) != sorted(parts["layers"]):
        raise TinylmError(f"its weights are {sorted(parts['layers'])}, expected {sorted(expected)}")
    model.set_weights([parts["layers"][name] for name in expected])
    if config["compile"] is not None:
        _compile(model, config["compile"])
        if parts["optimizer"]:
            model.updates.load_state_dict(parts["optimizer"])
        model.steps = int(config["steps"])
    return model


def _compile(model: Sequential, compiled: dict[str, Any]) -> None:
    optimizer, loss = _instance(OPTIMIZERS, compiled["optimizer"]), compiled["loss"]
    model.compile(optimizer, None if loss is None else _instance(LOSSES, loss), compiled["metrics"])
    model.learning_rate = float(compiled["learning_rate"])


def _weights(model: Sequential) -> list[tuple[int, str, np.ndarray]]:
    """(layer number, name, array) of all weights, in Keras' order; none before they are built."""
    built = model.stack.layers if model.built else []
    return [(number, w.name, w.get()) for number, layer in enumerate(built) for w in layer.keras_weights()]


def _compiled(model: Sequential) -> dict[str, Any] | None:
    settings = model.compile_settings
    if settings is None:
        return None
    optimizer, loss, metrics = settings
    if callable(optimizer.learning_rate) or isinstance(loss, losses.CustomLoss) or any(map(callable, metrics)):
        message = "a file cannot hold Python functions (of a loss, metric or schedule): call compile() after loading"
        warnings.warn(f"{model.name} is saved without what was compiled: {message}", stacklevel=4)
        return None
    return {
        "optimizer": _describe(optimizer),
        "loss": None if loss is None else _describe(loss),
        "metrics": [getattr(metric, "name", metric) for metric in metrics],
        "learning_rate": model.learning_rate,
    }


def _describe(instance: Any) -> dict[str, Any]:
    """A frozen description as JSON: its class and its fields."""
    fields = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    described = {n: _describe(v) if dataclasses.is_dataclass(v) else v for n, v in fields.items()}
    return {"class": type(instance).__name__, **described}


def _instance(classes: Mapping[str, Any], described: Any) -> Any:
    """What `_describe` described. Raises TinylmError for classes, fields and types that do not exist."""
    if not isinstance(described, dict) or described.get("class") not in classes:
        raise TinylmError(f"{described!r:.80} describes none of {', '.join(classes)}")
    kind = classes[described["class"]]
    hints = typing.get_type_hints(kind)
    fields = {name: value for name, value in described.items() if name != "class"}
    for name, value in fields.items():
        if name not in hints:
            raise TinylmError(f"{kind.__name__} has no argument {name!r}")
        if isinstance(value, dict):
            fields[name] = value = _instance(classes, value)
        if not _is_a(value, hints[name]):
            raise TinylmError(f"{kind.__name__}: {name} is {value!r:.80}")
    return kind(**fields)


def _is_a(value: Any, hint: Any) -> bool:
    options = [
        o for o in (typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)) if isinstance(o, type)
    ]
    if type(value) is bool:
        return bool in options
    return isinstance(value, tuple(options)) or (type(value) is int and float in options)
