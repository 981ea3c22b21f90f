"""From what a user names to the files that are read: files, folders and patterns."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import FileFormatError
from .readers import TEXT_SUFFIXES, suffix_of

__all__ = ["find_files"]


def find_files(paths: Iterable[Path], suffixes: Collection[str] = TEXT_SUFFIXES) -> list[Path]:
    """The files that the paths stand for, in the order given, each once.

    A file may have any suffix. A folder gives its files with one of the suffixes, also packed, at any depth, sorted by
    path; hidden and empty ones are left out. A pattern ("data/**/*.jsonl") gives the files it matches,
    sorted as well.
    Raises FileFormatError for a path that is missing, a file that is empty, a folder or pattern without files.
    """
    files = {file.resolve(): file for path in paths for file in _files(path, suffixes)}
    return list(files.values())


def _files(path: Path, suffixes: Collection[str]) -> list[Path]:
    if path.is_dir():
        return _folder(path, suffixes)
    if not path.is_file():
        if glob.has_magic(str(path)):
            return _matches(path)
        raise FileFormatError(path, f"there is no such file or folder{_suggestion(path)}")
    if not _has_bytes(path):
        raise FileFormatError(path, "is empty; expected text")
    return [path]


def _folder(path: Path, suffixes: Collection[str]) -> list[Path]:
    names = [file.relative_to(path) for file in path.rglob("*") if suffix_of(file) in suffixes]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    names.sort(key=Path.as_posix)  # the same order on every system
    files = [path / name for name in names if _has_bytes(path / name)]
    if not files:
        raise FileFormatError(path, f"a folder without text: no {', '.join(suffixes)} that holds any")
    return files


def _matches(pattern: Path) -> list[Path]:
    found = [Path(name) for name in glob.glob(str(pattern), recursive=True)]
    files = sorted((file for file in found if _has_bytes(file)), key=Path.as_posix)
    if not files:
        raise FileFormatError(pattern, "no file that holds text matches this pattern")
    return files


def _has_bytes(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _suggestion(path: Path) -> str:
    if not path.parent.is_dir():
        return f": the folder {path.parent} does not exist"
    names = sorted(other.name for other in path.parent.iterdir())
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""
