"""Where training text comes from: files, folders, and a text that every Python carries with it."""

from __future__ import annotations

import codecs
import difflib
import hashlib
import importlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import FileFormatError, TinylmError

__all__ = ["TEXT_SUFFIXES", "Corpus", "builtin_corpus", "open_corpus"]

TEXT_SUFFIXES = (".md", ".rst", ".text", ".txt")

_WIDE_BOMS = {  # the longest first: UTF-16's is the beginning of UTF-32's
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Corpus:
    """A named text, made of sources joined by a newline and read in bounded memory as often as needed.

    name: for messages and cards. sources: a Path is a UTF-8 file, a str is the text itself.
    """

    def __init__(self, name: str, sources: Sequence[Path | str]):
        self.name, self.sources = name, tuple(sources)

    def chunks(self, size: int = 1 << 20) -> Iterator[str]:
        r"""The text in pieces of about `size` bytes; joined, they are the same whatever the size.

        "\r\n" becomes "\n" and nothing else changes. Raises FileFormatError with the byte offset for a file
        that is binary or not UTF-8, TinylmError after the last piece where all was white space.
        """
        if size < 1:
            raise TinylmError(f"Corpus.chunks: size must be at least 1, received {size}")
        blank = True
        for chunk in _unix_newlines(self._raw(size)):
            blank = blank and chunk.isspace()
            yield chunk
        if blank:
            raise TinylmError(f"{self.name}: no text, only white space")

    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with the text, whatever the names and the number of its files."""
        digest = hashlib.blake2b(digest_size=16)
        for chunk in self.chunks():
            digest.update(chunk.encode("utf-8"))
        return digest.hexdigest()

    def _raw(self, size: int) -> Iterator[str]:
        for number, source in enumerate(self.sources):
            if number:
                yield "\n"
            if isinstance(source, Path):
                yield from _read_utf8(source, size)
            else:
                yield from (source[start : start + size] for start in range(0, len(source), size))

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, {len(self.sources)} source{'s' * (len(self.sources) != 1)})"


def open_corpus(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Corpus:
    """The text of files and folders, in the order given.

    A file may have any suffix. A folder gives its files that end in .md, .rst, .text or .txt, at any depth,
    sorted by path; hidden and empty ones are left out. A file met twice counts once. Raises FileFormatError
    for a path that is missing, a file that is empty, a folder without text.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not given:
        raise TinylmError("no text: name at least one file or folder")
    files = {file.resolve(): file for path in given for file in _files(path)}
    more = f" and {len(given) - 1} more" if len(given) > 1 else ""
    return Corpus((given[0].name or str(given[0])) + more, list(files.values()))


def builtin_corpus() -> Corpus:
    """CPython's own help texts ("pydoc-topics"): 470 kB of English, joined in order of their names.

    The text differs a little from one Python version to the next; `fingerprint` tells.
    """
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise TinylmError("this Python lacks its help texts (pydoc_data); name a text file instead") from None
    return Corpus("pydoc-topics", ["\n".join(topics[name] for name in sorted(topics))])


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        names = [file.relative_to(path) for file in path.rglob("*") if file.suffix.lower() in TEXT_SUFFIXES]
        names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
        names.sort(key=Path.as_posix)  # the same order on every system
        files = [path / name for name in names if _has_bytes(path / name)]
        if not files:
            raise FileFormatError(path, f"a folder without text: no {', '.join(TEXT_SUFFIXES)} that holds any")
        return files
    if not path.is_file():
        raise FileFormatError(path, f"there is no such file or folder{_suggestion(path)}")
    if not _has_bytes(path):
        raise FileFormatError(path, "is empty; expected text")
    return [path]


def _has_bytes(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _suggestion(path: Path) -> str:
    if not path.parent.is_dir():
        return f": the folder {path.parent} does not exist"
    names = sorted(other.name for other in path.parent.iterdir())
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


def _read_utf8(path: Path, size: int) -> Iterator[str]:
    """The text of a file without its byte order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        position = file.seek(_text_start(path, file.read(4)))
        while block := file.read(size):
            yield _decode(decoder, block, position, path)
            position += len(block)
        yield _decode(decoder, b"", position, path, final=True)


def _text_start(path: Path, first_bytes: bytes) -> int:
    for mark, encoding in _WIDE_BOMS.items():
        if first_bytes.startswith(mark):
            raise FileFormatError(path, f"{encoding} text by its byte order mark; convert the file to UTF-8", 0)
    return len(codecs.BOM_UTF8) if first_bytes.startswith(codecs.BOM_UTF8) else 0


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, position: int, path: Path, *, final: bool = False) -> str:
    """position: where `block` begins in the file."""
    if (zero := block.find(b"\0")) >= 0:
        reason = "a NUL byte: a binary file or UTF-16, not UTF-8 text; convert it to UTF-8 or leave it out"
        raise FileFormatError(path, reason, position + zero)
    waiting = len(decoder.getstate()[0])  # bytes of a character that an earlier block began
    try:
        return decoder.decode(block, final)
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text ({error.reason}); convert the file to UTF-8 or leave it out"
        raise FileFormatError(path, reason, position - waiting + error.start) from None


def _unix_newlines(chunks: Iterable[str]) -> Iterator[str]:
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
