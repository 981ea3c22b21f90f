"""From text to batches: corpora, memory-mapped token files, windows for training and validation."""

from .batches import IGNORE, LanguageModelBatches
from .buckets import LengthBuckets
from .continued import ContinuedBatches
from .corpora import Corpus, builtin_corpus, open_corpus
from .masking import mask_tokens
from .mixture import Batches, MixedBatches
from .omissions import Omissions
from .packing import PackedBatches
from .padding import pad_rows
from .readers import READERS, TEXT_SUFFIXES
from .records import EpochOrder, Passage, Records, make_records, open_records, read_passages
from .span_corruption import corrupt_spans, corrupted_batch
from .statistics import CorpusStatistics, LengthDistribution, TokenStatistics, measure_corpus, measure_tokens
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
    "CorpusStatistics",
    "CorpusTokens",
    "EpochOrder",
    "LanguageModelBatches",
    "LengthBuckets",
    "LengthDistribution",
    "MixedBatches",
    "Omissions",
    "PackedBatches",
    "Passage",
    "Progress",
    "Records",
    "ShardedIds",
    "Survey",
    "TokenSplit",
    "TokenStatistics",
    "builtin_corpus",
    "corrupt_spans",
    "corrupted_batch",
    "make_records",
    "mask_tokens",
    "measure_corpus",
    "measure_tokens",
    "open_corpus",
    "open_records",
    "pad_rows",
    "read_passages",
    "tokenize_corpus",
]
