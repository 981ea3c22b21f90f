"""Text to token ids and back. `load_tokenizer` opens any tokenizer.json that this package can write."""

from .base import TextStream, Tokenizer
from .bpe import END_OF_TEXT, AddedToken, BPETokenizer
from .bpe_training import train_bpe
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .load import load_tokenizer

__all__ = [
    "END_OF_TEXT",
    "AddedToken",
    "BPETokenizer",
    "ByteTokenizer",
    "CharTokenizer",
    "TextStream",
    "Tokenizer",
    "load_tokenizer",
    "train_bpe",
]
