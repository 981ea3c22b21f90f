"""GGUF, the format of llama.cpp's models: one file with settings, tokenizer and weights, which may be packed."""

from .opening import open_gguf
from .reading import GGUFFile, read_gguf
from .saving import save_gguf
from .writing import write_gguf

__all__ = ["GGUFFile", "open_gguf", "read_gguf", "save_gguf", "write_gguf"]
