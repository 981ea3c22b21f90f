"""Model families, one file each: floor 3, on nn."""

from __future__ import annotations

from .base import Model
from .gpt2 import GPT2, GPT2Config
from .gpt_neox import GPTNeoX, GPTNeoXConfig
from .language_model import CausalLanguageModel
from .llama import Llama, LlamaConfig, Mistral, MistralConfig, Qwen2, Qwen2Config
from .recurrent import GRUConfig, GRULanguageModel, LSTMConfig, LSTMLanguageModel
from .stored import Stored

__all__ = [
    "FAMILIES",
    "GPT2",
    "CausalLanguageModel",
    "GPT2Config",
    "GPTNeoX",
    "GPTNeoXConfig",
    "GRUConfig",
    "GRULanguageModel",
    "LSTMConfig",
    "LSTMLanguageModel",
    "Llama",
    "LlamaConfig",
    "Mistral",
    "MistralConfig",
    "Model",
    "Qwen2",
    "Qwen2Config",
    "Stored",
]

# By the model_type of their config.json.
FAMILIES: dict[str, type[CausalLanguageModel]] = {
    family.model_type: family for family in (GPT2, Llama, Mistral, Qwen2, GPTNeoX, LSTMLanguageModel, GRULanguageModel)
}
