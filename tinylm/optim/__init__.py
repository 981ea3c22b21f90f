"""Optimizers and learning-rate schedules: floor 2."""

from .adam import Adam, AdamW
from .optimizer import Optimizer, ParameterGroup, clip_scale, parameter_groups
from .schedules import SCHEDULES, Schedule, make_schedule
from .sgd import SGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "ParameterGroup",
    "Schedule",
    "clip_scale",
    "make_schedule",
    "parameter_groups",
]
