"""Weights and settings, in and out: floor 4."""

from .convert import CONVERSIONS, DTYPES, convert
from .generation_config import GenerationConfig, read_generation_config
from .model_folder import load_model, open_folder, read_card, read_model_config, save_model
from .opening import MODEL_FILES, open_model
from .peft import open_adapter, save_adapter
from .pooling import Pooling, read_pooling
from .safetensors import read_metadata, read_safetensors, write_safetensors
from .source import ModelSource

__all__ = [
    "CONVERSIONS",
    "DTYPES",
    "MODEL_FILES",
    "GenerationConfig",
    "ModelSource",
    "Pooling",
    "convert",
    "load_model",
    "open_adapter",
    "open_folder",
    "open_model",
    "read_card",
    "read_generation_config",
    "read_metadata",
    "read_model_config",
    "read_pooling",
    "read_safetensors",
    "save_adapter",
    "save_model",
    "write_safetensors",
]
