"""A model folder: what tinylm trains other libraries load, and the other way round.

    config.json             the settings, with Hugging Face's names where the family exists there
    model.safetensors       the weights, with Hugging Face's names and layouts
    tokenizer.json          the tokenizer
    generation_config.json  the special tokens
    tinylm.json             where the model comes from: data, command, versions, metrics

Weights are memory-mapped: opening a folder reads only what is used. There is no pickle anywhere.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import read_json, write_atomically
from tinylm.models import FAMILIES, CausalLanguageModel
from tinylm.nn import Initializer
from tinylm.text import Tokenizer, load_tokenizer

from .safetensors import read_safetensors, write_safetensors

__all__ = ["load_model", "load_model_tokenizer", "read_model_config", "save_model"]

PICKLES = ("pytorch_model.bin", "*.pt", "*.bin", "*.pth", "*.ckpt")


def save_model(
    folder: str | PathLike[str],
    model: CausalLanguageModel,
    tokenizer: Tokenizer | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a model folder, or replace the one that is there, file by file and each in one step; the weights last."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    settings = {
        "model_type": model.model_type,
        "architectures": [model.architecture],
        **dataclasses.asdict(model.config),
    }
    special = {name: settings[name] for name in ("bos_token_id", "eos_token_id") if settings.get(name) is not None}
    _write_json(path / "config.json", settings)
    _write_json(path / "generation_config.json", special)
    _write_json(path / "tinylm.json", dict(provenance or {}))
    if tokenizer is not None:
        tokenizer.save(path)
    state = model.state_dict()
    tensors: dict[str, np.ndarray] = {}
    for name, stored in model.folder_names().items():
        tensors |= stored.split(state[name])
    write_safetensors(path / "model.safetensors", tensors, {"format": "pt"})


def load_model(folder: str | PathLike[str]) -> CausalLanguageModel:
    """The model of a folder, in evaluation mode and float32, its weights memory-mapped where they are float32.

    Raises FileFormatError naming the file and the reason for everything that cannot be trusted.
    """
    path = Path(folder)
    settings = read_model_config(path)
    family = FAMILIES[settings["model_type"]]
    try:
        model = family.from_settings(settings, Initializer(seed=None))
    except FileFormatError:
        raise
    except TinylmError as error:
        raise FileFormatError(path / "config.json", str(error)) from None
    weights = path / "model.safetensors"
    if not weights.exists():
        raise FileFormatError(weights, _missing_weights(path))
    stored = {}
    for name, array in read_safetensors(weights).items():
        full_name = family.full_name(name)
        if full_name is not None:
            stored[full_name] = array
    try:
        return model.load_state_dict(_by_our_names(model, stored))
    except TinylmError as error:
        raise FileFormatError(weights, str(error)) from None


def _by_our_names(model: CausalLanguageModel, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    state = {}
    for name, places in model.folder_names().items():
        if all(place in stored for place in places.names):
            state[name] = places.join([stored.pop(place) for place in places.names])
    for name in model.copies:  # tied weights may be stored once more; anything else left over is an error
        stored.pop(name, None)
    return state | stored


def load_model_tokenizer(folder: str | PathLike[str]) -> Tokenizer:
    """The tokenizer of a model folder."""
    return load_tokenizer(Path(folder))


def read_model_config(folder: str | PathLike[str]) -> dict[str, Any]:
    """The settings in config.json, of a family that is known here. Raises FileFormatError."""
    path = Path(folder)
    if not path.is_dir():
        raise FileFormatError(path, "there is no such model folder" if not path.exists() else "is not a model folder")
    config = path / "config.json"
    if not config.exists():
        raise FileFormatError(path, "is not a model folder: it holds no config.json")
    settings = read_json(config)
    if not isinstance(settings, dict):
        raise FileFormatError(config, f"expected an object, received {type(settings).__name__}")
    if settings.get("model_type") not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise FileFormatError(config, f"model_type is {settings.get('model_type')!r}; supported: {known}")
    return settings


def _missing_weights(path: Path) -> str:
    pickles = [file.name for pattern in PICKLES for file in path.glob(pattern)]
    if pickles:
        return f"is missing; {pickles[0]} is a pickle, which can run code when read: convert to safetensors first"
    return "is missing"


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode("utf-8"))
