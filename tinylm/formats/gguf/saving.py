"""Writing a language model as a GGUF file that llama.cpp loads: Hugging Face's names and layouts to llama.cpp's."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinylm.errors import TinylmError
from tinylm.models import Encoder

from ..source import ModelSource
from ..tensors import BYTE_ROWS, FORMATS, StoredTensor, Tensors, as_dtype
from .architectures import ARCHITECTURES, POOLING_TYPE, POOLINGS, Architecture
from .byte_rows import apart
from .layout import laid_out, split_name
from .rope import ROPE_FACTORS, rope_factors, rope_metadata
from .vocabulary import MODEL, NO_WORDS, vocabulary_metadata
from .writing import write_gguf

__all__ = ["save_gguf"]

# llama.cpp's numbers for the type of most tensors of a file: `enum llama_ftype`; 1024 for what it has none for.
FILE_TYPES = {
    "float32": 0, "float16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q4_k": 15, "q5_k": 17,
    "q6_k": 18, "bf16": 32, BYTE_ROWS: 1024,
}  # fmt: skip
QUANTIZATION_VERSION = 2  # of the layouts of blocks

# What quality hangs on most: 8 bits where the rest has 4.
EIGHT_BITS, FOUR_BITS = ("token_embd.weight", "output.weight"), ("q4_0", "q4_k")
FLOAT32 = ("position_embd.weight", "token_types.weight")  # as llama.cpp wants it, and whatever has one axis

# What follows where a setting of Hugging Face's is None.
DERIVED: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "n_inner": lambda config: 4 * config["n_embd"],
    "num_key_value_heads": lambda config: config["num_attention_heads"],
}


def save_gguf(source: ModelSource, path: str | os.PathLike[str], dtype: str | None = None) -> None:
    """Write a model as one file that llama.cpp loads.

    dtype: what its matrices become, float32, float16 or a packed format; None leaves them as they are. Norms, biases
    and positions are float32; what does not divide into blocks becomes float16. With q4_0 the embedding and the output
    projection become q8_0; so with q4_k, where rows that do not divide into blocks of 256 become q5_0, and with
    int8_rows, which llama.cpp does not read (`byte_rows`). Raises TinylmError for a family, a setting or a tokenizer
    that GGUF has no words for.
    """
    model = source.empty_model()
    architecture = next((each for each in ARCHITECTURES if each.model_type == model.model_type), None)
    if architecture is None:
        known = ", ".join(each.model_type for each in ARCHITECTURES)
        raise TinylmError(f"{source.path}: GGUF has no words for a model of type {model.model_type}, only for {known}")
    config = dataclasses.asdict(model.config)
    settings = _settings(source, architecture, config)
    encoder = _encoder_metadata(source, model) if isinstance(model, Encoder) else {}
    tensors = {
        name: as_dtype(name, tensor, _dtype_for(name, tensor, dtype))
        for name, tensor in _to_gguf(source.checked_tensors(model), architecture, config)
    }
    metadata = {
        "general.architecture": architecture.name,
        "general.name": source.path.stem if source.path.is_file() else source.path.name,
        "general.file_type": _file_type(tensors),
        "general.quantization_version": QUANTIZATION_VERSION,
        **{f"{architecture.name}.{name}": value for name, value in settings.items()},
        **encoder,
        **(vocabulary_metadata(source.tokenizer(), config) if source.get_tokenizer else {MODEL: NO_WORDS}),
    }
    write_gguf(path, metadata, Tensors(apart(tensors)))


def _settings(source: ModelSource, architecture: Architecture, config: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in architecture.constants.items():
        if config[name] != value:
            raise TinylmError(f"{source.path}: {name}={config[name]!r} has no place in GGUF, only {value!r}")
    settings: dict[str, Any] = {"vocab_size": config["vocab_size"]}
    for name, theirs in architecture.settings.items():
        value = config[theirs]
        if value is None and theirs in DERIVED:
            value = DERIVED[theirs](config)
        if value is not None:
            settings[name] = value
    if "attention.key_length" in settings:
        settings["attention.value_length"] = settings["attention.key_length"]
    if architecture.rope_base is not None:
        part = 1.0 if architecture.partial_rotary is None else config[architecture.partial_rotary]
        settings |= rope_metadata(config["rope_scaling"], int(architecture.head_width(config) * part))
    return settings


def _encoder_metadata(source: ModelSource, model: Encoder) -> dict[str, Any]:
    """What a file says of an encoder alone. Raises TinylmError for one with a head, or that pools in another way."""
    mode = source.get_pooling().mode
    if model.head is not None or mode not in POOLINGS:
        what = f"{model.architecture}, with a head," if model.head is not None else f"{mode} pooling"
        raise TinylmError(f"{source.path}: {what} has no place in GGUF; only a {model.model_type} without a head")
    about = {"attention.causal": False, POOLING_TYPE: POOLINGS[mode]}
    types = {"tokenizer.ggml.token_type_count": model.config.type_vocab_size}
    return {f"{model.model_type}.{name}": value for name, value in about.items()} | types


def _to_gguf(
    tensors: Mapping[str, StoredTensor], architecture: Architecture, config: Mapping[str, Any]
) -> Iterator[tuple[str, StoredTensor]]:
    """The tensors by GGUF's names and in its layout."""
    scaling = config.get("rope_scaling")
    if architecture.rope_base and scaling and scaling.get("rope_type", scaling.get("type")) == "llama3":
        factors = rope_factors(architecture.head_width(config), config[architecture.rope_base], scaling)
        yield ROPE_FACTORS, StoredTensor.of(factors)
    patterns = {theirs: ours for ours, theirs in architecture.tensors.items()}
    for name, tensor in tensors.items():
        theirs, layer, suffix = split_name(name)
        pattern = patterns[theirs]
        ours = pattern.replace("*", layer) + suffix
        yield ours, laid_out(tensor, ours, pattern, architecture, config, back=False)
        if pattern == "token_embd" and not architecture.may_tie and config["tie_word_embeddings"]:
            yield "output.weight", tensor


def _dtype_for(name: str, tensor: StoredTensor, wanted: str | None) -> str:
    if len(tensor.shape) < 2 or name in FLOAT32:
        return "float32"
    if wanted is None:
        return tensor.dtype if tensor.dtype in FILE_TYPES else "float32"
    if wanted in (*FOUR_BITS, BYTE_ROWS) and name in EIGHT_BITS:
        wanted = "q8_0"
    if wanted == "q4_k" and tensor.shape[-1] % FORMATS[wanted].block_values:
        wanted = "q5_0"
    return "float16" if wanted in FORMATS and tensor.shape[-1] % FORMATS[wanted].block_values else wanted


def _file_type(tensors: Mapping[str, StoredTensor]) -> int:
    kinds = [t.dtype for name, t in tensors.items() if len(t.shape) > 1 and name not in (*EIGHT_BITS, *FLOAT32)]
    return FILE_TYPES[Counter(kinds).most_common(1)[0][0]] if kinds else 0
