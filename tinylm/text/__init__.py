"""Text to token ids and back. `load_tokenizer` opens any tokenizer.json that this package can write."""

from .base import TextStream, Tokenizer
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .load import load_tokenizer

__all__ = ["ByteTokenizer", "CharTokenizer", "TextStream", "Tokenizer", "load_tokenizer"]
