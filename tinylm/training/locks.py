"""A lock file: one process at a time, on every system, and free again after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, TinylmError
from ..files import parse_json

__all__ = ["hold", "holder"]


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, in a folder that exists, until the block ends.

    The lock of a process that is gone is taken over. Raises TinylmError, naming the holder and what to do,
    where another process (or this one) holds it; OSError where the file cannot be made.
    """
    pid = os.getpid()
    whose = {"pid": pid, "host": socket.gethostname(), "born": _born(pid), "token": secrets.token_hex(8)}
    mine = json.dumps(whose).encode()
    descriptor = _acquire(path, mine)
    try:
        yield
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            if path.read_bytes() == mine:  # else someone removed it and another process took it
                path.unlink()


def holder(path: Path) -> str | None:
    """Who holds the lock file `path`, in words; None where nobody does."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    whose = _parse(path, raw)
    if _abandoned(path, whose):
        return None
    return f"process {whose.get('pid', 'unknown')} on {whose.get('host', 'an unknown host')}"


def _acquire(path: Path, mine: bytes) -> int:
    for _ in range(10):  # each round, the lock was let go or taken over while we looked
        with contextlib.suppress(FileExistsError):
            return _create(path, mine)
        with contextlib.suppress(FileNotFoundError):
            seen = path.read_bytes()
            if (name := holder(path)) is not None:
                raise TinylmError(f"{path}: held by {name}. Wait for it; if it is gone, delete this file")
            _set_aside(path, seen)
    raise TinylmError(f"{path}: other processes keep taking it: try again")


def _create(path: Path, mine: bytes) -> int:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        os.write(descriptor, mine)
        os.fsync(descriptor)  # an empty lock after a power cut would tell nothing of its holder
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


def _set_aside(path: Path, seen: bytes) -> None:
    """Remove an abandoned lock. Of two processes that try, the slower may catch the other's new one."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    os.replace(path, aside)
    if aside.read_bytes() == seen:
        aside.unlink()
    else:
        os.replace(aside, path)


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        value = parse_json(raw, path)
    except FileFormatError:
        value = None
    return value if isinstance(value, dict) else {}


def _abandoned(path: Path, whose: dict[str, Any]) -> bool:
    """Whether the holder is known to be gone. In doubt it is not: another host, an unreadable lock."""
    if os.name == "nt":  # os.kill(pid, 0) would interrupt it; but a file that it has open cannot be renamed
        try:
            os.rename(path, path)
        except PermissionError:
            return False
        return True
    pid = whose.get("pid")
    if type(pid) is not int or pid <= 0 or whose.get("host") != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # it lives, as another user's
    born = _born(pid)
    return born is not None and born != whose.get("born")


def _born(pid: int) -> str | None:
    """When a process began, in ticks after boot (Linux; None elsewhere): process numbers come round again."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return None
