"""Optimizers and learning-rate schedules: floor 2."""

from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .combined import Combined, muon_with_adamw
from .ema import EMA
from .lion import Lion
from .make import OPTIMIZERS, make_optimizer
from .muon import Muon, orthogonalize
from .optimizer import Optimizer, ParameterGroup, clip_scale, parameter_groups
from .rmsprop import RMSprop
from .schedules import DECAY_SHAPES, SCHEDULES, Schedule, make_schedule
from .sgd import SGD

__all__ = [
    "DECAY_SHAPES",
    "EMA",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Combined",
    "Lion",
    "Muon",
    "Optimizer",
    "ParameterGroup",
    "RMSprop",
    "Schedule",
    "clip_scale",
    "make_optimizer",
    "make_schedule",
    "muon_with_adamw",
    "orthogonalize",
    "parameter_groups",
]
