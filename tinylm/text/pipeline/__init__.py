"""Tokenizers of other people's models: the components of tokenizer.json, and the tokenizer that they make together."""

from .config import TokenizerConfig, read_tokenizer_config
from .sequences import Inputs, Padding, Truncation
from .tokenizer import PipelineTokenizer

__all__ = ["Inputs", "Padding", "PipelineTokenizer", "TokenizerConfig", "Truncation", "read_tokenizer_config"]
