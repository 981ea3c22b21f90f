"""Augmentation: more examples from those there are, as functions of the seed, the step and the row."""

from .change import Augmenter, Change, Compose, OneOf, Sometimes
from .characters import KEYBOARDS, KeyboardNoise, Typos
from .mixup import Mixup, draw_mixup
from .synonyms import read_mythes, read_wordnet
from .words import BackTranslation, DeleteWords, ReplaceByContext, ReplaceBySynonym, SwapWords

__all__ = [
    "KEYBOARDS",
    "Augmenter",
    "BackTranslation",
    "Change",
    "Compose",
    "DeleteWords",
    "KeyboardNoise",
    "Mixup",
    "OneOf",
    "ReplaceByContext",
    "ReplaceBySynonym",
    "Sometimes",
    "SwapWords",
    "Typos",
    "draw_mixup",
    "read_mythes",
    "read_wordnet",
]
