"""From text to batches: corpora, memory-mapped token files, windows for training and validation."""

from .batches import IGNORE, LanguageModelBatches
from .corpora import TEXT_SUFFIXES, Corpus, builtin_corpus, open_corpus
from .token_file import TokenFile, TokenSplit, tokenize_corpus

__all__ = [
    "IGNORE",
    "TEXT_SUFFIXES",
    "Corpus",
    "LanguageModelBatches",
    "TokenFile",
    "TokenSplit",
    "builtin_corpus",
    "open_corpus",
    "tokenize_corpus",
]
