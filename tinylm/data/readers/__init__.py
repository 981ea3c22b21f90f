"""Readers of text files: one format a module, chosen by the file's suffix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .archives import ARCHIVES
from .base import Piece, Reader, Skipped, TextFile
from .delimited import read_csv, read_tsv
from .json_lines import read_json_lines
from .parquet import read_parquet
from .plain import read_plain

__all__ = ["READERS", "TEXT_SUFFIXES", "Piece", "Reader", "Skipped", "TextFile", "read", "suffix_of"]

READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".jsonl": read_json_lines,
    ".md": read_plain,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".rst": read_plain,
    ".text": read_plain,
    ".tsv": read_tsv,
    ".txt": read_plain,
}

TEXT_SUFFIXES = tuple(READERS)


def read(file: TextFile) -> Iterator[Piece | Skipped]:
    """The documents of a file in pieces, and the records that are left out.

    Its suffix chooses the reader, after .gz or .zst where it is packed; any other suffix is plain text.
    """
    return READERS.get(suffix_of(file.path), read_plain)(file)


def suffix_of(path: Path) -> str:
    """What says how a file is read: its suffix in lower case, or the one before that of an archive."""
    name = path.with_suffix("") if path.suffix.lower() in ARCHIVES else path
    return name.suffix.lower()
