"""Where training text comes from: files, folders, and a text that every Python carries with it."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import FileFormatError, TinylmError
from .omissions import Omissions
from .paths import find_files
from .readers import Piece, Skipped, TextFile, read
from .readers.plain import unix_newlines
from .repeats import DIGEST_BYTES, Repeats
from .survey import FileStates, Progress, Survey, file_states, recall, remember, reporter, take_survey

__all__ = ["Corpus", "builtin_corpus", "open_corpus"]

CHUNK = 1 << 20  # bytes, or characters, that are read and looked at together


class Corpus:
    """A named sequence of documents, read in bounded memory as often as needed.

    name: for messages and cards. sources: a Path is a file, whose suffix says how it is read (see `READERS`); a str
    is a document itself. text_column: the field or column of JSON Lines, CSV and Parquet that is the text. strict: a
    record that cannot be used raises, where else it is skipped and counted. deduplicate: records that repeat an
    earlier one are left out; plain text is not looked at.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Path | str],
        *,
        text_column: str = "text",
        strict: bool = False,
        deduplicate: bool = False,
    ):
        self.name, self.sources = name, tuple(sources)
        self.text_column, self.strict, self.deduplicate = text_column, strict, deduplicate
        self._survey: Survey | None = None
        self._states: FileStates = []  # of the files when the survey began

    def pieces(
        self,
        size: int = CHUNK,
        *,
        on_read: Callable[[int], None] = lambda count: None,
        omissions: Omissions | None = None,
    ) -> Iterator[Piece]:
        r"""The documents in pieces of about `size` bytes; each document ends with the piece that says so.

        "\r\n" becomes "\n" and nothing else changes. on_read: told how many bytes were taken from the disk, as they
        are; omissions: counts what is left out. Raises FileFormatError for a file that is damaged, binary or not
        UTF-8; TinylmError after the last piece where all was white space.
        """
        if size < 1:
            raise TinylmError(f"{self.name}: the size of pieces must be at least 1, received {size}")
        omissions = Omissions() if omissions is None else omissions
        repeats = Repeats() if self.deduplicate else None
        blank = True
        for source in self.sources:
            whole = True  # a record comes in one piece; plain text ends with an empty one
            for piece in self._read(source, size, on_read, omissions):
                omissions.records += piece.ends
                if repeats and piece.text and piece.ends and whole and repeats.seen(_digest(piece.text)):
                    omissions.repeated += 1
                    continue
                whole = piece.ends
                blank = blank and (not piece.text or piece.text.isspace())
                yield piece
        if blank:
            raise omissions.first or TinylmError(f"{self.name}: no text, only white space")

    def documents(self) -> Iterator[str]:
        """Each document as one str: for corpora of documents that fit into memory."""
        held: list[str] = []
        for text, ends in self.pieces():
            held.append(text)
            if ends:
                yield "".join(held)
                held.clear()

    def chunks(self, size: int = CHUNK) -> Iterator[str]:
        """The documents joined by newlines, in chunks of about `size`; joined, they are the same whatever the size."""
        held: list[str] = []
        length, between = 0, False
        for text, ends in self.pieces(size):
            held += ["\n", text] if between else [text]
            length += len(text) + between
            between = ends
            if length >= size:
                yield "".join(held)
                held.clear()
                length = 0
        if length:
            yield "".join(held)

    def survey(self, progress: Progress | None = None) -> Survey:
        """What one pass over all documents tells; where the files are large, from the last time they were read.

        A file that has changed in size or time since then is noticed. progress: told of the bytes that are read.
        """
        if self._survey is None:
            self._states = states = self.file_states()
            texts = [source for source in self.sources if isinstance(source, str)]
            options = [self.text_column, self.strict, self.deduplicate, texts]
            self._survey = recall(states, options)
            if self._survey is None:
                self._survey = self._take_survey(progress)
                remember(self._survey, states, options)
        return self._survey

    def _take_survey(self, progress: Progress | None) -> Survey:
        omissions = Omissions()
        pieces = self.pieces(on_read=reporter(progress, "reading", self.n_bytes), omissions=omissions)
        survey = take_survey(pieces, omissions.messages)
        self.check_unchanged()
        return survey

    def fingerprint(self) -> str:
        """That of the survey."""
        return self.survey().fingerprint

    def file_states(self) -> FileStates:
        """The files' names, sizes and times."""
        return file_states(source for source in self.sources if isinstance(source, Path))

    def check_unchanged(self) -> None:
        """Raise TinylmError where a file is no longer as it was before the survey."""
        for before, now in zip(self._states, self.file_states(), strict=True):
            if before != now:
                raise TinylmError(f"{before[0]} has changed while it was read; start again when it is complete")

    @property
    def n_bytes(self) -> int:
        """The bytes that one pass reads from the disk."""
        return sum(size for _, size, _ in self.file_states())

    def _read(
        self, source: Path | str, size: int, on_read: Callable[[int], None], omissions: Omissions
    ) -> Iterator[Piece]:
        if isinstance(source, str):
            parts = (source[start : start + size] for start in range(0, len(source), size))
            yield from (Piece(part, False) for part in unix_newlines(parts))
            yield Piece("", True)
            return
        for item in read(TextFile(source, self.text_column, size, on_read)):
            if isinstance(item, Piece):
                yield item
                continue
            error = _complaint(source, item)
            if self.strict:
                raise error
            omissions.records += 1
            omissions.skip(error)

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, {len(self.sources)} source{'s' * (len(self.sources) != 1)})"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=DIGEST_BYTES).digest()


def _complaint(path: Path, skipped: Skipped) -> FileFormatError:
    return FileFormatError(path, skipped.reason, line=skipped.line)


def open_corpus(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    name: str | None = None,
    text_column: str = "text",
    strict: bool = False,
    deduplicate: bool = False,
) -> Corpus:
    """The documents of files, folders and patterns, in the order given; see `find_files` and `Corpus`.

    name: that of the first path, unless given. Raises FileFormatError for a path that is missing, a file that is
    empty, a folder or pattern without text.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not given:
        raise TinylmError("no text: name at least one file or folder")
    more = f" and {len(given) - 1} more" if len(given) > 1 else ""
    name = name or (given[0].name or str(given[0])) + more
    return Corpus(name, find_files(given), text_column=text_column, strict=strict, deduplicate=deduplicate)


def builtin_corpus() -> Corpus:
    """CPython's own help texts ("pydoc-topics"): 470 kB of English, joined in order of their names.

    The text differs a little from one Python version to the next; its fingerprint tells.
    """
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        raise TinylmError("this Python lacks its help texts (pydoc_data); name a text file instead") from None
    return Corpus("pydoc-topics", ["\n".join(topics[name] for name in sorted(topics))])
