"""The disk's errors in words that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ..errors import TinylmError

__all__ = ["disk_errors", "explain"]

_ADVICE = {
    "ENOSPC": "free some space, or choose another disk",
    "EDQUOT": "free some of your quota, or choose another disk",
    "EACCES": "check the permissions, or choose a folder that you can write to",
    "EPERM": "check the permissions, or choose a folder that you can write to",
    "EROFS": "choose a folder that can be written to",
    "EIO": "the disk may be failing: choose another one",
}


def explain(error: OSError) -> str:
    """What went wrong with a disk, and what to do about it."""
    code = errno.errorcode.get(error.errno or 0, "")
    return f"{error.strerror or error}: {_ADVICE.get(code, 'check the folder and the disk')}"


@contextlib.contextmanager
def disk_errors(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into a TinylmError that names the file, or `where` if it names none."""
    try:
        yield
    except OSError as error:
        raise TinylmError(f"{error.filename or where}: {explain(error)}") from error
