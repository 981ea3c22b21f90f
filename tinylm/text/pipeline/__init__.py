"""Tokenizers of other people's models: the components of tokenizer.json, and the tokenizer that they make together."""

from .sequences import Inputs, Padding, Truncation
from .tokenizer import PipelineTokenizer
from .windows import Window

__all__ = ["Inputs", "Padding", "PipelineTokenizer", "Truncation", "Window"]
