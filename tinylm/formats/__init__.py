"""Weights and settings, in and out: floor 4."""

from .model_folder import load_model, load_model_tokenizer, read_model_config, save_model
from .safetensors import read_metadata, read_safetensors, write_safetensors

__all__ = [
    "load_model",
    "load_model_tokenizer",
    "read_metadata",
    "read_model_config",
    "read_safetensors",
    "save_model",
    "write_safetensors",
]
