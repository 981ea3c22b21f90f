"""A model folder: what tinylm trains other libraries load, and the other way round.

    config.json             the settings, with Hugging Face's names where the family exists there
    model.safetensors       the weights, with Hugging Face's names and layouts; several files where they are large
    tokenizer.json          the tokenizer
    generation_config.json  the special tokens, and what else it said of how texts are generated
    tinylm.json             where the model comes from: data, command, versions; the task that it was trained for

Weights are memory-mapped: opening a folder reads only what is used. There is no pickle anywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError
from tinylm.files import read_json, write_json
from tinylm.models import FAMILIES, Model
from tinylm.text import Tokenizer, find_tokenizer_file, load_tokenizer

from .generation_config import GENERATION_CONFIG, read_generation_config
from .pooling import Pooling, read_pooling, write_pooling
from .sharded import INDEX, SINGLE, read_weights, write_weights
from .source import ModelSource
from .tensors import Tensors, as_dtype

__all__ = [
    "load_model",
    "model_settings",
    "open_folder",
    "read_card",
    "read_model_config",
    "save_folder",
    "save_model",
    "write_description",
]

CARD = "tinylm.json"
SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
PICKLES = ("pytorch_model.bin", "*.pt", "*.bin", "*.pth", "*.ckpt")


def save_model(
    folder: str | PathLike[str],
    model: Model,
    tokenizer: Tokenizer | None = None,
    provenance: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    pooling: Pooling | None = None,
) -> None:
    """Write a model folder, or replace the one that is there, file by file and each in one step; the weights last.

    generation: the content of generation_config.json beyond the special tokens that the model's config names. pooling:
    how an encoder makes one vector of a text.
    """
    state = model.state_dict()
    tensors: dict[str, np.ndarray] = {}
    for name, stored in model.folder_names().items():
        tensors |= stored.split(state[name])
    write_description(Path(folder), model_settings(model), tokenizer, provenance, generation)
    write_pooling(Path(folder), pooling or Pooling())
    write_weights(Path(folder), tensors, {"format": "pt"})


def model_settings(model: Model) -> dict[str, Any]:
    """What config.json says of a model."""
    return {
        "model_type": model.model_type,
        "architectures": [model.architecture],
        **dataclasses.asdict(model.config),
    }


def save_folder(source: ModelSource, folder: str | PathLike[str], dtype: str | None = None) -> None:
    """Write a model, wherever it is from, as a model folder; as `save_model`.

    dtype: float32, float16 or bf16; None keeps those and unpacks whatever else is packed to float32.
    """
    kept = ("float64", "float32", "float16", "bf16")
    tensors = {
        name: as_dtype(name, tensor, dtype or (tensor.dtype if tensor.dtype in kept else "float32"))
        for name, tensor in source.checked_tensors(source.empty_model()).items()
    }
    kind = dtype or max((tensor.dtype for tensor in tensors.values()), key=kept.index, default="float32")
    settings = {name: value for name, value in source.settings.items() if name != "torch_dtype"}  # its older name
    settings |= {"dtype": "bfloat16" if kind == "bf16" else kind}
    tokenizer = source.tokenizer() if source.get_tokenizer else None
    provenance, generation = {"converted from": source.path.name}, read_generation_config(source).settings
    write_description(Path(folder), settings, tokenizer, provenance, generation)
    write_pooling(Path(folder), source.get_pooling())
    write_weights(Path(folder), Tensors(tensors), {"format": "pt"})


def write_description(
    path: Path,
    settings: Mapping[str, Any],
    tokenizer: Tokenizer | None,
    provenance: Mapping[str, Any] | None,
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write all of a model folder but its weights, each file in one step."""
    path.mkdir(parents=True, exist_ok=True)
    special = {name: settings[name] for name in SPECIAL_TOKENS if settings.get(name) is not None}
    write_json(path / "config.json", settings)
    write_json(path / GENERATION_CONFIG, special | dict(generation or {}))
    write_json(path / CARD, dict(provenance or {}))
    if tokenizer is not None:
        tokenizer.save(path)


def open_folder(folder: str | PathLike[str]) -> ModelSource:
    """What a model folder holds; of the weights only the headers are read. Raises FileFormatError."""
    path = Path(folder)
    settings = read_model_config(path)
    weights = next((path / name for name in (SINGLE, INDEX) if (path / name).exists()), None)
    if weights is None:
        raise FileFormatError(path / SINGLE, _missing_weights(path))
    tokenizer = partial(load_tokenizer, path) if find_tokenizer_file(path) else None
    return ModelSource(
        path, path / "config.json", weights, settings, read_weights(path), tokenizer, partial(read_pooling, path)
    )


def load_model(folder: str | PathLike[str]) -> Model:
    """The model of a folder, in evaluation mode and float32, its weights memory-mapped where they are float32.

    Raises FileFormatError naming the file and the reason for everything that cannot be trusted.
    """
    return open_folder(folder).build()


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


def read_card(folder: str | PathLike[str]) -> dict[str, Any]:
    """What tinylm.json says: where the model comes from, and under "task" what it was trained for; {} without one.

    Raises FileFormatError where it is malformed.
    """
    file = Path(folder) / CARD
    if not file.is_file():
        return {}
    card = read_json(file)
    if not isinstance(card, dict) or not isinstance(card.get("task", {}), dict):
        raise FileFormatError(file, "expected an object, and of its task, if it names one, another")
    return card


def _missing_weights(path: Path) -> str:
    pickles = [file.name for pattern in PICKLES for file in path.glob(pattern)]
    if pickles:
        return f"is missing; {pickles[0]} is a pickle, which can run code when read: convert to safetensors first"
    return "is missing"
