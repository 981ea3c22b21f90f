"""Hyper-parameter search over tasks: floor 7. The search itself is Optuna's (extra "tune")."""

from .search import resume_tuning, tune
from .space import Choices, Range, parse_space
from .trials import TrialRecord, TunedStudy

__all__ = ["Choices", "Range", "TrialRecord", "TunedStudy", "parse_space", "resume_tuning", "tune"]
