"""Checkpoints that survive a kill at any instant.

    folder/step-00001200/arrays.safetensors    the arrays, by name
    folder/step-00001200/state.json            everything else
    folder/step-00001200/manifest.json         sizes and sha256 of the two, written last

A checkpoint grows in `step-00001200.tmp` and takes its name in one step, after all of it is on the disk; only
then do older ones go. While a step is saved a second time, the first save waits as `step-00001200.old`, which
the reader takes like any other. One process saves into a folder at a time (`RunFolder.lock`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..errors import FileFormatError, TinylmError
from ..files import fsync_folder, parse_json, read_json, write_atomically
from ..formats.safetensors import read_safetensors, write_safetensors
from .disk import disk_errors, explain

__all__ = [
    "JSON",
    "Checkpoint",
    "Skipped",
    "checkpoint_steps",
    "discard_checkpoints",
    "load_checkpoint",
    "save_checkpoint",
]

JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | float | bool | None"

FORMAT, VERSION = "tinylm checkpoint", 1
ARRAYS, STATE, MANIFEST = "arrays.safetensors", "state.json", "manifest.json"
MAX_MANIFEST = 1 << 16  # bytes; ours takes about 400

# The instants of a save between which it can be cut, in their order: a test kills the process at each.
POINTS = ("prepared", "arrays", "state", "manifest", "set aside", "renamed", "synced", "pruned")


class Skipped(NamedTuple):
    """A checkpoint that was passed over: the name of its folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read and verified.

    arrays: read-only views of the memory-mapped file (on Windows, let go of them before the next save: it
    cannot remove or replace a mapped file). folder: its own. skipped: the newer ones that did not verify;
    where it is not empty, tell the user of the fall-back.
    """

    step: int
    arrays: Mapping[str, np.ndarray]
    state: dict[str, Any]
    folder: Path
    skipped: tuple[Skipped, ...] = ()


def save_checkpoint(
    folder: Path,
    step: int,
    arrays: Mapping[str, np.ndarray],
    state: Mapping[str, JSON],
    *,
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Save a step, durably, and return its folder: after a kill at any instant a loadable checkpoint remains.

    folder: of all the checkpoints of a run, made where it is missing. step: from 0; a step saved before is
    replaced. arrays: what safetensors can hold. state: what JSON can hold; NaN and infinity are not, tuples
    come back as lists. keep: how many to keep, from 1: the newest that verify (to know them, `keep - 1` older
    ones are read). protect: steps that stay beyond these; the one just saved is among them.

    Raises TinylmError for what cannot be saved and where the disk fails; then earlier checkpoints are as they
    were. A failure to remove an old one is no error: the next save tries again.
    """
    folder = Path(folder)
    if step < 0 or keep < 1:
        raise TinylmError(f"save_checkpoint: step {step}, keep {keep}; expected step >= 0 and keep >= 1")
    target = folder / f"step-{step:08d}"
    temporary = target.with_name(target.name + ".tmp")
    encoded = _encode(target / STATE, state)
    try:
        _prepare(folder)
        _write(temporary, step, arrays, encoded)
        _publish(temporary, target)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            problem = f"cannot save step {step} in {folder}: {explain(error)}"
            raise TinylmError(f"{problem}. Earlier checkpoints are unharmed") from error
        raise
    with contextlib.suppress(OSError):
        _prune(folder, step, keep, protect)
    return target


def load_checkpoint(folder: Path, step: int | None = None) -> Checkpoint:
    """The newest checkpoint that verifies (its manifest is there, sizes and sha256 agree), or that of `step`.

    Raises TinylmError where there is none, FileFormatError, with the reason for each, where none verifies.
    """
    folder = Path(folder)
    found = [(number, path) for number, path in _newest_first(folder) if step in (None, number)]
    if not found:
        there = ", ".join(map(str, checkpoint_steps(folder))) or "none"
        wanted = "" if step is None else f" of step {step}"
        raise TinylmError(f"{folder}: there is no checkpoint{wanted}; the steps there: {there}")
    skipped: list[Skipped] = []
    for number, path in found:
        try:
            _verify(path, number)
            state = read_json(path / STATE)
            return Checkpoint(number, read_safetensors(path / ARRAYS), state, path, tuple(skipped))
        except FileFormatError as error:
            skipped.append(Skipped(path.name, f"{Path(error.path).name}: {error.reason}"))
        except OSError as error:
            skipped.append(Skipped(path.name, explain(error)))
    reasons = "; ".join(f"{name} ({reason})" for name, reason in skipped)
    raise FileFormatError(folder, f"no checkpoint that can be trusted: {reasons}")


def discard_checkpoints(folder: Path, *, after: int) -> None:
    """Remove the checkpoints of later steps than `after`. Raises TinylmError where the disk fails."""
    with disk_errors(folder):
        for step, path in _newest_first(Path(folder)):
            if step > after:
                _remove(path)


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that are saved in a folder, ascending, not verified; none where there is no folder."""
    return sorted({step for step, _ in _newest_first(Path(folder))})


def _reached(point: str) -> None:
    """Does nothing. Tests put a kill or a failure in its place, at one of POINTS."""


def _encode(path: Path, state: Mapping[str, JSON]) -> bytes:
    """The bytes of state.json, parsed once: what could not be read back is never written."""
    try:
        encoded = json.dumps(state, ensure_ascii=False, indent=1).encode("utf-8")
        parse_json(encoded, path)
    except (TypeError, ValueError, RecursionError) as error:
        raise TinylmError(f"save_checkpoint: the state is not JSON that can be read back: {error}") from None
    return encoded


def _prepare(folder: Path) -> None:
    """Make the folder, and clear what a kill left in it."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        fsync_folder(folder.parent)
    for old in folder.glob("step-*.old"):
        if old.with_suffix("").exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(old, old.with_suffix(""))
    for stale in folder.glob("step-*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    _reached("prepared")


def _write(folder: Path, step: int, arrays: Mapping[str, np.ndarray], state: bytes) -> None:
    """Every file is synced before it has its name, and the folder after each: the manifest last."""
    folder.mkdir()
    write_safetensors(folder / ARRAYS, arrays)
    _reached("arrays")
    write_atomically(folder / STATE, state)
    _reached("state")
    files = {name: _fingerprint(folder / name) for name in (ARRAYS, STATE)}
    manifest = {"format": FORMAT, "version": VERSION, "step": step, "files": files}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    _reached("manifest")


def _publish(temporary: Path, target: Path) -> None:
    old = target.with_name(target.name + ".old")
    if target.exists():  # no system call that Python has replaces a folder with a full one
        os.replace(target, old)
        _reached("set aside")
    os.replace(temporary, target)
    _reached("renamed")
    fsync_folder(target.parent)
    _reached("synced")
    shutil.rmtree(old, ignore_errors=True)


def _prune(folder: Path, saved: int, keep: int, protect: Collection[int]) -> None:
    """Remove all but the newest `keep` that verify. A disk error ends it: what cannot be read may be good."""
    good = 0
    for step, path in _newest_first(folder):
        if path.suffix:
            continue  # set aside and not yet removed: the next save does that
        if good < keep and (step == saved or _verifies(path, step)):
            good += 1
        elif step != saved and step not in protect:
            _remove(path)
    _reached("pruned")


def _remove(path: Path) -> None:
    doomed = path.with_name(path.name + ".tmp")
    os.replace(path, doomed)  # so that a kill leaves no half of a checkpoint under its name
    shutil.rmtree(doomed, ignore_errors=True)


def _newest_first(folder: Path) -> list[tuple[int, Path]]:
    """Steps and their folders; of two with one step, the one that was set aside comes second."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TinylmError(f"{folder}: {explain(error)}") from error
    matches = filter(None, (re.fullmatch(r"step-(\d{8,})(\.old)?", name, re.ASCII) for name in names))
    found = [(int(match[1]), match[2] is None, folder / match[0]) for match in matches]
    return [(step, path) for step, _, path in sorted(found, reverse=True)]


def _fingerprint(file: Path) -> dict[str, JSON]:
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return {"bytes": os.fstat(opened.fileno()).st_size, "sha256": digest}


def _verifies(path: Path, step: int) -> bool:
    try:
        _verify(path, step)
    except FileFormatError:
        return False
    return True


def _verify(path: Path, step: int) -> None:
    """Raise FileFormatError unless the folder holds what was saved, to the bit."""
    manifest = read_json(path / MANIFEST, max_bytes=MAX_MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise FileFormatError(path / MANIFEST, "is not the manifest of a checkpoint")
    if manifest.get("version") != VERSION:
        reason = f"version {manifest.get('version')!r:.20}, expected {VERSION}: use the tinylm that wrote it"
        raise FileFormatError(path / MANIFEST, reason)
    if manifest.get("step") != step:
        raise FileFormatError(path / MANIFEST, f"is of step {manifest.get('step')!r:.20}, not {step}")
    files = manifest.get("files")
    for name in (ARRAYS, STATE):
        entry = files.get(name) if isinstance(files, dict) else None
        if not isinstance(entry, dict) or set(entry) != {"bytes", "sha256"}:
            raise FileFormatError(path / MANIFEST, f"has no bytes and sha256 of {name}")
        _compare(path / name, entry)


def _compare(file: Path, entry: Mapping[str, JSON]) -> None:
    if not file.is_file():
        raise FileFormatError(file, "is missing")
    size = file.stat().st_size
    if size != entry["bytes"]:  # before the hash, which takes a second for each gigabyte or so
        raise FileFormatError(file, f"{size:,} bytes, {entry['bytes']!r:.20} in the manifest")
    if _fingerprint(file)["sha256"] != entry["sha256"]:
        raise FileFormatError(file, "its sha256 is not the one in the manifest: the content has changed")
