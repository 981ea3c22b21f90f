"""Text to token ids and back. `load_tokenizer` opens any tokenizer.json that this package can write."""

from .base import TextStream, Tokenizer
from .bpe import END_OF_TEXT, AddedToken, BPETokenizer
from .bpe_training import train_bpe
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .gguf import from_gguf_fields
from .load import find_tokenizer_file, load_tokenizer, tokenizer_of_fields
from .marian import MarianTokenizer
from .pipeline import Inputs, Padding, PipelineTokenizer, Truncation, Window
from .special import find_special, require_special, with_sentinels
from .tokenizer_config import TokenizerConfig
from .unigram_training import train_unigram
from .wordpiece_training import train_wordpiece

__all__ = [
    "END_OF_TEXT",
    "AddedToken",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "Inputs",
    "MarianTokenizer",
    "Padding",
    "PipelineTokenizer",
    "TextStream",
    "Tokenizer",
    "TokenizerConfig",
    "Truncation",
    "Window",
    "find_special",
    "find_tokenizer_file",
    "from_gguf_fields",
    "load_tokenizer",
    "require_special",
    "tokenizer_of_fields",
    "train_bpe",
    "train_unigram",
    "train_wordpiece",
    "with_sentinels",
]
