"""What one look at a whole corpus tells, remembered so that large files are not read again at every start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..files import cache_folder, read_json, write_atomically
from .characters import CharacterCounts
from .readers import Piece

__all__ = ["FileStates", "Progress", "Survey", "file_states", "recall", "remember", "reporter", "take_survey"]

Progress = Callable[[str, int, int], None]  # what is being done; how much of it, of how much, in bytes
FileStates = list[tuple[str, int, int]]  # path, bytes, time of the last change in ns

_VERSION = 1
_REMEMBERED_FROM = 16 << 20  # bytes; less than this is read as fast as it is looked up
_SETTLED = 2_000_000_000  # ns; a file that changed later than this may change again within one tick of its clock


@dataclass(frozen=True)
class Survey:
    """fingerprint: 32 hexadecimal digits that change with the documents, whatever the names and the number of files.

    characters: the distinct ones, sorted, of the documents joined by newlines; omissions: what was left out, in words.
    """

    fingerprint: str
    characters: str
    documents: int
    omissions: tuple[str, ...] = ()


def take_survey(pieces: Iterable[Piece], omissions: Callable[[], Iterable[str]]) -> Survey:
    """Read all pieces; `omissions` is asked after the last."""
    digest = hashlib.blake2b(digest_size=16)
    characters = CharacterCounts()
    documents, between = 0, False
    for text, ends in pieces:
        if between:
            digest.update(b"\xff")  # no byte of UTF-8
        digest.update(text.encode("utf-8", "surrogatepass"))
        characters.add(text)
        documents, between = documents + ends, ends
    if documents > 1:
        characters.add("\n")  # joins them
    distinct = "".join(map(chr, np.flatnonzero(characters.counts())))
    return Survey(digest.hexdigest(), distinct, documents, tuple(omissions()))


def reporter(progress: Progress | None, what: str, total: int) -> Callable[[int], None]:
    """A function that is told of each part that was done and tells `progress` of their sum."""
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(what, done, total)

    return report


def file_states(files: Iterable[Path]) -> FileStates:
    """What shows that a file has changed without reading it."""
    return [(str(file.resolve()), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files]


def recall(states: FileStates, options: Any) -> Survey | None:
    """The survey of these files, read in this way, if it is remembered."""
    try:
        fields = read_json(_path(states, options))
        return Survey(**{**fields, "omissions": tuple(fields["omissions"])})
    except (OSError, FileFormatError, TypeError, KeyError):
        return None


def remember(survey: Survey, states: FileStates, options: Any) -> None:
    """Keep a survey for the next start. Small files, and those that may still change, are not remembered."""
    small = sum(size for _, size, _ in states) < _REMEMBERED_FROM
    if small or time.time_ns() - max(changed for _, _, changed in states) < _SETTLED:
        return
    path = _path(states, options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(dataclasses.asdict(survey)).encode("ascii"))
    except OSError:
        pass  # read again at the next start


def _path(states: FileStates, options: Any) -> Path:
    key = json.dumps([_VERSION, states, options]).encode("utf-8", "surrogatepass")
    return cache_folder() / "surveys" / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.json"
