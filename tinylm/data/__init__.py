"""From text to batches: corpora, memory-mapped token files, windows for training and validation."""

from .batches import IGNORE, LanguageModelBatches
from .corpora import Corpus, Omissions, builtin_corpus, open_corpus
from .readers import READERS, TEXT_SUFFIXES
from .survey import Progress, Survey
from .token_file import TokenFile, TokenSplit, tokenize_corpus

__all__ = [
    "IGNORE",
    "READERS",
    "TEXT_SUFFIXES",
    "Corpus",
    "LanguageModelBatches",
    "Omissions",
    "Progress",
    "Survey",
    "TokenFile",
    "TokenSplit",
    "builtin_corpus",
    "open_corpus",
    "tokenize_corpus",
]
