"""Plain text: a file is one document, of any length."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import FileFormatError
from .base import Piece, Skipped, TextFile, text_start

__all__ = ["read_plain", "unix_newlines"]


def read_plain(file: TextFile) -> Iterator[Piece | Skipped]:
    r"""The text of a UTF-8 file without its byte order mark; "\r\n" becomes "\n" and nothing else changes.

    Raises FileFormatError with the byte offset for a file that is binary or not UTF-8.
    """
    for chunk in unix_newlines(_decoded(file)):
        yield Piece(chunk, False)
    yield Piece("", True)


def _decoded(file: TextFile) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open() as opened:
        head = opened.read(4)
        position = text_start(file.path, head)
        block = head[position:]
        while block:
            yield _decode(decoder, block, position, file.path)
            position += len(block)
            block = opened.read(file.size)
        yield _decode(decoder, b"", position, file.path, final=True)


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, position: int, path: Path, *, final: bool = False) -> str:
    """position: where `block` begins in the text."""
    if (zero := block.find(b"\0")) >= 0:
        reason = "a NUL byte: a binary file or UTF-16, not UTF-8 text; convert it to UTF-8 or leave it out"
        raise FileFormatError(path, reason, position + zero)
    waiting = len(decoder.getstate()[0])  # bytes of a character that an earlier block began
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason}); convert the file to UTF-8 or leave it out"
        raise FileFormatError(path, reason, position - waiting + error.start) from None


def unix_newlines(chunks: Iterable[str]) -> Iterator[str]:
    r"""Make "\r\n" a "\n", also where it lies across two chunks; drop empty chunks."""
    held = ""
    for chunk in chunks:
        text = held + chunk
        held = "\r" if text.endswith("\r") else ""
        text = text[: len(text) - len(held)].replace("\r\n", "\n")
        if text:
            yield text
    if held:
        yield held
