"""Tasks, and the way from settings to a trained model: floor 6."""

from .building import build_trainer
from .continued import ContinuedLanguageModelling
from .initial import continue_model, freeze, prepare_model
from .kind import Paths, TaskKind
from .language_modelling import EVALUATION_CONTEXT, LanguageModelling, evaluate_split, measure_split
from .learning_rate import find_learning_rate
from .new_models import new_model
from .pairs import PairKind
from .settings import (
    OF_NEW_MODELS,
    OPTIMIZER_SETTINGS,
    RECURRENT,
    STEERING,
    TOKENIZERS,
    TrainSettings,
    parse_assignments,
    read_setting,
    read_settings_file,
    settings_to_json,
)
from .table import TASKS, choose_settings, find_task, resolve_settings, task_of
from .text import Source, TextKind, TextSettings, load_sources
from .tokenizers import LEARNT, build_tokenizer, find_tokenizer
from .training import TrainedRun, resume_settings, run_training
from .writing import PRESETS, Writing, WritingSettings

__all__ = [
    "EVALUATION_CONTEXT",
    "LEARNT",
    "OF_NEW_MODELS",
    "OPTIMIZER_SETTINGS",
    "PRESETS",
    "RECURRENT",
    "STEERING",
    "TASKS",
    "TOKENIZERS",
    "ContinuedLanguageModelling",
    "LanguageModelling",
    "PairKind",
    "Paths",
    "Source",
    "TaskKind",
    "TextKind",
    "TextSettings",
    "TrainSettings",
    "TrainedRun",
    "Writing",
    "WritingSettings",
    "build_tokenizer",
    "build_trainer",
    "choose_settings",
    "continue_model",
    "evaluate_split",
    "find_learning_rate",
    "find_task",
    "find_tokenizer",
    "freeze",
    "load_sources",
    "measure_split",
    "new_model",
    "parse_assignments",
    "prepare_model",
    "read_setting",
    "read_settings_file",
    "resolve_settings",
    "resume_settings",
    "run_training",
    "settings_to_json",
    "task_of",
]
