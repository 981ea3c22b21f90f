"""The exceptions a user can meet. Each message says what was received, what was expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from os import PathLike

__all__ = ["DivergedError", "FileFormatError", "TinylmError", "nearest"]


class TinylmError(ValueError):
    """A mistake in what the user gave: a setting, a text, a file. The command line prints it in one line."""


class DivergedError(TinylmError):
    """A training run whose loss or gradients blew up. The command line ends with a status of its own for it, 3."""


class FileFormatError(TinylmError):
    """A file that cannot be trusted: malformed, cut short, or of another kind than its name says.

    path: the file; offset: the byte at which it went wrong, None where no single byte is to blame; line: the same for
    files of lines and records, counted from 1.
    """

    def __init__(self, path: str | PathLike[str], reason: str, offset: int | None = None, *, line: int | None = None):
        self.path, self.offset, self.line, self.reason = str(path), offset, line, reason
        place = "" if offset is None else f", byte {offset}"
        place = place if line is None else f":{line}{place}"
        super().__init__(f"{self.path}{place}: {reason}")


def nearest(name: str, names: Iterable[str]) -> str:
    """What to add to the message about an unknown name: the nearest that exists, or all where none is near."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
