"""From text to batches: corpora, memory-mapped token files, windows for training and validation."""

from .batches import IGNORE, LanguageModelBatches
from .continued import ContinuedBatches
from .corpora import Corpus, Omissions, builtin_corpus, open_corpus
from .mixture import Batches, MixedBatches
from .packing import PackedBatches
from .readers import READERS, TEXT_SUFFIXES
from .survey import Progress, Survey
from .tokenizing import tokenize_corpus
from .tokens import CorpusTokens, ShardedIds, TokenSplit

__all__ = [
    "IGNORE",
    "READERS",
    "TEXT_SUFFIXES",
    "Batches",
    "ContinuedBatches",
    "Corpus",
    "CorpusTokens",
    "LanguageModelBatches",
    "MixedBatches",
    "Omissions",
    "PackedBatches",
    "Progress",
    "ShardedIds",
    "Survey",
    "TokenSplit",
    "builtin_corpus",
    "open_corpus",
    "tokenize_corpus",
]
