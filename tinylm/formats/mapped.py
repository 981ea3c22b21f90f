"""Opening a file of weights by memory map, and telling what it is where it is not what was expected."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from ..errors import FileFormatError

__all__ = ["map_file", "other_kind"]

_KINDS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes, which may run code: convert to safetensors",
    b"\x80": "a Python pickle, which may run code: convert to safetensors",
    b"GGUF": "a GGUF file, not safetensors",
    b"ggml": "a GGML file, older than GGUF: convert it with llama.cpp",
    b"tjgg": "a GGJT file, older than GGUF: convert it with llama.cpp",
    b"\x89HDF": "an HDF5 file: convert to safetensors",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`",
}


def map_file(path: Path, kind: str) -> mmap.mmap:
    """The bytes of a file, read-only and read when they are used. Raises FileFormatError where there is none.

    kind: what the file should be, for the message.
    """
    if path.is_dir():
        raise FileFormatError(path, f"is a folder: name the {kind} file in it")
    if not path.is_file():
        raise FileFormatError(path, "there is no such file")
    with open(path, "rb") as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            raise FileFormatError(path, f"is empty: not a {kind} file", 0)
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def other_kind(start: bytes) -> str | None:
    """What a file is that begins with these bytes, if that is a format one meets."""
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), None)
