"""Tasks, and the way from settings to a trained model: floor 6."""

from .building import build_model
from .continued import ContinuedLanguageModelling
from .language_modelling import EVALUATION_CONTEXT, LanguageModelling, Source, evaluate_split
from .learning_rate import find_learning_rate
from .settings import (
    OPTIMIZER_SETTINGS,
    PRESETS,
    STEERING,
    TOKENIZERS,
    TrainSettings,
    parse_assignments,
    read_settings_file,
    resolve_settings,
    settings_to_json,
)
from .tokenizers import LEARNT, build_tokenizer, find_tokenizer
from .training import TrainedRun, resume_settings, train_language_model

__all__ = [
    "EVALUATION_CONTEXT",
    "LEARNT",
    "OPTIMIZER_SETTINGS",
    "PRESETS",
    "STEERING",
    "TOKENIZERS",
    "ContinuedLanguageModelling",
    "LanguageModelling",
    "Source",
    "TrainSettings",
    "TrainedRun",
    "build_model",
    "build_tokenizer",
    "evaluate_split",
    "find_learning_rate",
    "find_tokenizer",
    "parse_assignments",
    "read_settings_file",
    "resolve_settings",
    "resume_settings",
    "settings_to_json",
    "train_language_model",
]
