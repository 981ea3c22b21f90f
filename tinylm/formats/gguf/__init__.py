"""GGUF, the format of llama.cpp's models: one file with settings, tokenizer and weights, which may be packed."""

from .reading import GGUFFile, read_gguf
from .writing import write_gguf

__all__ = ["GGUFFile", "read_gguf", "write_gguf"]
