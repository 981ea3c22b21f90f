"""The language model in a GGUF file: llama.cpp's names and layouts to Hugging Face's, by the tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.models import FAMILIES

from ..pooling import Pooling
from ..source import ModelSource
from ..tensors import StoredTensor, Tensors
from .architectures import ARCHITECTURES, POOLING_TYPE, POOLINGS, Architecture
from .byte_rows import together
from .layout import laid_out, split_name
from .reading import GGUFFile, read_gguf
from .rope import ROPE_FACTORS, rope_settings
from .vocabulary import TOKEN_IDS, has_vocabulary, read_vocabulary

__all__ = ["open_gguf"]

OPTIONAL = ("attention.head_count_kv", "attention.key_length", "rope.freq_base")
ROPE_NAMES = ("rope.dimension_count", "rope.scaling.type", "rope.scaling.factor")


def open_gguf(path: str | os.PathLike[str]) -> ModelSource:
    """The model of a GGUF file; its tensors stay packed until they are used. Raises FileFormatError."""
    opened = read_gguf(path)
    architecture = _architecture(opened)
    try:
        settings = _settings(opened, architecture)
        stored = dict(_to_folder(opened, architecture, settings))
    except FileFormatError:
        raise
    except TinylmError as error:
        raise FileFormatError(opened.path, str(error)) from None
    embedding = f"{architecture.tensors['token_embd']}.weight"
    if embedding not in stored:
        raise FileFormatError(opened.path, "holds no tensor 'token_embd.weight'")
    settings |= {"vocab_size": stored[embedding].shape[0]}
    settings |= {"tie_word_embeddings": architecture.tied or f"{architecture.tensors['output']}.weight" not in stored}
    if (types := stored.get("embeddings.token_type_embeddings.weight")) is not None:
        settings |= {"type_vocab_size": types.shape[0]}
    tokenizer = partial(read_vocabulary, opened) if has_vocabulary(opened.metadata) else None
    return ModelSource.of_file(opened.path, settings, Tensors(stored), tokenizer, partial(_pooling, opened))


def _pooling(opened: GGUFFile) -> Pooling:
    """How an encoder makes one vector of a text; the mean where nothing is said."""
    kind = opened.metadata.get(f"{opened.metadata.get('general.architecture')}.{POOLING_TYPE}", 0)
    modes = {0: "mean"} | {number: mode for mode, number in POOLINGS.items()}
    if kind not in modes:
        raise FileFormatError(opened.path, f"{POOLING_TYPE} is {kind!r:.60}; supported: the mean (1), the first (2)")
    return Pooling(modes[kind])


def _architecture(opened: GGUFFile) -> Architecture:
    name = opened.metadata.get("general.architecture")
    found = next((each for each in ARCHITECTURES if each.name == name), None)
    if found is None:
        known = ", ".join(dict.fromkeys(each.name for each in ARCHITECTURES))
        raise FileFormatError(opened.path, f"general.architecture is {name!r:.60}; supported: {known}")
    return found


def _settings(opened: GGUFFile, architecture: Architecture) -> dict[str, Any]:
    """The settings of config.json. Raises TinylmError for one that is missing, or would change the result unread."""
    start = f"{architecture.name}."
    given = {key.removeprefix(start): _scalar(opened, key) for key in opened.metadata if key.startswith(start)}
    missing = [name for name in architecture.settings if name not in given and name not in OPTIONAL]
    if missing:
        raise TinylmError(f"lacks the settings {', '.join(start + name for name in missing)}")
    settings = {
        "model_type": architecture.model_type,
        "architectures": [next(iter(FAMILIES[architecture.model_type].architectures().values()))],
        **architecture.constants,
        **{name: tensor in opened.tensors for name, tensor in architecture.biases.items()},
        **{theirs: given[name] for name, theirs in architecture.settings.items() if name in given},
    }
    if architecture.rope_base is not None:
        factors = opened.tensors.get(ROPE_FACTORS)
        base, width = settings.get(architecture.rope_base, 10000.0), architecture.head_width(settings)
        settings |= rope_settings(given, factors, width, base, architecture.partial_rotary)
    known = {*architecture.settings, *architecture.passed_over, *ROPE_NAMES}
    for name, value in given.items():
        if name not in known and value not in (0, False, "", "none"):
            raise TinylmError(f"{start}{name} is {value!r:.60}, which is not supported")
    ids = {name: opened.metadata.get(key) for name, key in TOKEN_IDS.items()}
    return settings | {name: id for name, id in ids.items() if id is not None}


def _scalar(opened: GGUFFile, key: str) -> Any:
    """A single value; a float32 as the shortest decimal that it stands for, 1e-05 rather than 9.999999747378752e-06."""
    value = opened.metadata[key]
    if isinstance(value, (list, np.ndarray)):
        reason = f"{key} holds several values, one for each layer perhaps; only one is supported"
        raise FileFormatError(opened.path, reason, opened.metadata.position(key))
    if isinstance(value, float) and abs(value) < 1e38:
        single = np.float32(value)
        return float(str(single)) if float(single) == value else value
    return value


def _to_folder(
    opened: GGUFFile, architecture: Architecture, settings: Mapping[str, Any]
) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors by Hugging Face's names and in the layout of a model folder."""
    for name, stored in together(opened.tensors).items():
        if name == ROPE_FACTORS and architecture.rope_base is not None:
            continue
        pattern, layer, suffix = split_name(name)
        if pattern not in architecture.tensors:
            raise TinylmError(f"the tensor {name!r:.80} belongs to no {architecture.name} model that is known here")
        tensor = laid_out(stored, name, pattern, architecture, settings, back=True)
        yield architecture.tensors[pattern].replace("*", layer) + suffix, tensor
