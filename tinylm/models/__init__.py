"""Model families, one file each: floor 3, on nn."""

from __future__ import annotations

from .gpt2 import GPT2, GPT2Config
from .language_model import CausalLanguageModel
from .recurrent import GRUConfig, GRULanguageModel, LSTMConfig, LSTMLanguageModel

__all__ = [
    "FAMILIES",
    "GPT2",
    "CausalLanguageModel",
    "GPT2Config",
    "GRUConfig",
    "GRULanguageModel",
    "LSTMConfig",
    "LSTMLanguageModel",
]

# By the model_type of their config.json.
FAMILIES: dict[str, type[CausalLanguageModel]] = {
    family.model_type: family for family in (GPT2, LSTMLanguageModel, GRULanguageModel)
}
