"""Adapters in the format of PEFT: what LoRA has learnt, in a folder of its own beside the model it belongs to.

    adapter_config.json         the rank, the scale, the layers, and where the model lies
    adapter_model.safetensors   the two thin matrices of each layer, and the layers that were trained whole
    config.json, tokenizer.json, tinylm.json   as in a model folder

An adapter is opened as the model with its changes added: whatever takes a model takes an adapter, and saving it
somewhere else merges the two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError
from tinylm.files import read_json, write_atomically
from tinylm.models import LowRankSettings, Model, low_rank_names, low_rank_targets
from tinylm.text import Tokenizer, find_tokenizer_file, load_tokenizer

from .model_folder import model_settings, write_description
from .pooling import MODULES, Pooling, read_pooling, write_pooling
from .safetensors import read_safetensors, write_safetensors
from .source import ModelSource
from .tensors import StoredTensor, Tensors, unpacked

__all__ = ["ADAPTER_CONFIG", "open_adapter", "save_adapter"]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # of all names

# Settings of PEFT's that would change what is computed, and their value where nothing of the kind is asked for.
UNSUPPORTED: dict[str, Any] = {"use_dora": False, "bias": "none", "alpha_pattern": {}, "lora_bias": False}


def save_adapter(
    folder: str | PathLike[str],
    model: Model,
    base: str,
    settings: LowRankSettings,
    tokenizer: Tokenizer | None = None,
    provenance: Mapping[str, Any] | None = None,
    pooling: Pooling | None = None,
) -> None:
    """Write what a model with LoRA has learnt; the weights last. base: what opens the model as it was before.

    pooling: how the model makes one vector of a text.
    """
    path = Path(folder)
    state = model.state_dict()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    tensors: dict[str, np.ndarray] = {}
    for name, stored in {**low_rank_names(model), **model.folder_names()}.items():
        if name in trained:
            tensors |= {PREFIX + part: array for part, array in stored.split(state[name]).items()}
    whole = {name.removeprefix(PREFIX).rpartition(".")[0] for name in tensors if ".lora_" not in name}
    targets, transposed = low_rank_targets(model)
    write_description(path, model_settings(model), tokenizer, provenance)
    write_pooling(path, pooling or Pooling())
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": list(settings.targets) or targets,
        "modules_to_save": sorted(whole) or None,
        "fan_in_fan_out": transposed,
        "bias": "none",
        "inference_mode": True,
        "task_type": None,
    }
    write_atomically(path / ADAPTER_CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    write_safetensors(path / ADAPTER_WEIGHTS, tensors, {"format": "pt"})


def open_adapter(folder: Path, open_base: Callable[[str], ModelSource]) -> ModelSource:
    """The model that an adapter belongs to with its changes added, each when its tensor is asked for.

    open_base: opens a model by its name. Raises FileFormatError for an adapter that cannot be trusted, is of another
    kind than LoRA, or does not fit its model.
    """
    config = _read_config(folder)
    base = open_base(_base_name(folder, config))
    arrays = read_safetensors(folder / ADAPTER_WEIGHTS)
    tensors = {name: base.tensors.stored(name) for name in base.tensors}
    for name, array in arrays.items():
        layer, _, kind = name.removeprefix(PREFIX).partition(".lora_")
        if not kind:
            tensors[layer] = StoredTensor.of(array)
        elif kind == "A.weight":
            tensors[f"{layer}.weight"] = _changed(folder, config, tensors, arrays, layer)
        elif kind != "B.weight" or name.replace(".lora_B.", ".lora_A.") not in arrays:
            raise FileFormatError(folder / ADAPTER_WEIGHTS, f"{name} belongs to no layer's lora_A and lora_B")
    settings_path = folder / "config.json"
    own = settings_path.exists()
    return ModelSource(
        folder,
        settings_path if own else base.settings_path,
        folder / ADAPTER_WEIGHTS,
        read_json(settings_path) if own else base.settings,
        Tensors(tensors),
        partial(load_tokenizer, folder) if find_tokenizer_file(folder) else base.get_tokenizer,
        partial(read_pooling, folder) if (folder / MODULES).exists() else base.get_pooling,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    config = read_json(path)
    if not isinstance(config, dict):
        raise FileFormatError(path, f"expected an object, received {type(config).__name__}")
    if config.get("peft_type") != "LORA":
        raise FileFormatError(path, f"peft_type is {config.get('peft_type')!r}; supported: LORA")
    for name, value in UNSUPPORTED.items():
        if config.get(name, value) not in (value, None):
            raise FileFormatError(path, f"{name} is {config[name]!r}; supported: {value!r}")
    if not isinstance(config.get("base_model_name_or_path"), str):
        raise FileFormatError(path, "base_model_name_or_path, where the model lies, is missing")
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise FileFormatError(path, f"lora_alpha is {alpha!r}, expected a number")
    return config


def _base_name(folder: Path, config: Mapping[str, Any]) -> str:
    """Where the model lies: as it is written, or as seen from the adapter's folder."""
    name = config["base_model_name_or_path"]
    beside = folder / name
    place = beside if not Path(name).exists() and beside.exists() else Path(name)
    if (place / ADAPTER_CONFIG).exists():
        raise FileFormatError(folder / ADAPTER_CONFIG, f"{name} is an adapter itself, expected a model")
    return str(place) if place.exists() else name


def _changed(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, StoredTensor],
    arrays: Mapping[str, np.ndarray],
    layer: str,
) -> StoredTensor:
    """The weight of a layer with its change added."""
    path = folder / ADAPTER_WEIGHTS
    a, b = (arrays.get(f"{PREFIX}{layer}.lora_{kind}.weight") for kind in "AB")
    weight = tensors.get(f"{layer}.weight")
    if a is None or b is None:
        raise FileFormatError(path, f"{layer} has no {'lora_A' if a is None else 'lora_B'}")
    if weight is None:
        raise FileFormatError(path, f"{layer} is no layer of {config['base_model_name_or_path']}")
    transposed = bool(config.get("fan_in_fan_out"))
    shape = tuple(reversed(weight.shape)) if transposed else weight.shape
    if a.ndim != 2 or b.ndim != 2 or len(a) == 0 or a.shape[0] != b.shape[1] or (len(b), a.shape[1]) != shape:
        raise FileFormatError(path, f"{layer} has lora_A {a.shape} and lora_B {b.shape}, its weight {weight.shape}")
    rank = len(a)
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return StoredTensor(weight.shape, "float32", partial(_add, weight, a, b, scale, transposed))


def _add(weight: StoredTensor, a: np.ndarray, b: np.ndarray, scale: float, transposed: bool) -> np.ndarray:
    change = (b.astype(np.float32) * np.float32(scale)) @ a.astype(np.float32)
    return unpacked(weight.make()).astype(np.float32) + (change.T if transposed else change)
