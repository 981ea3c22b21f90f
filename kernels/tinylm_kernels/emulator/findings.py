"""What the machine found while a kernel ran, in words, with file and line."""

from __future__ import annotations

import ctypes
import linecache
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Array", "Arrays", "EmulationError", "Finding", "Step", "describe_finding", "describe_step", "locate"]

# watch.cpp's numbers for memory that is not a given array.
STATIC_SHARED, DYNAMIC_SHARED = -1, -2
(RACE, OUTSIDE, UNWRITTEN, BARRIER_APART, LANES_APART, ABSENT_LANE, MASK_WITHOUT_ITSELF, UNDEFINED, REFUSED) = range(9)
KINDS = ("race", "outside", "unwritten", "barrier", "lanes", "absent lane", "mask", "undefined", "refused")


class EmulationError(RuntimeError):
    """A kernel did what a card does not forgive. `kinds` names the mistakes, from KINDS."""

    def __init__(self, message: str, kinds: Sequence[str]):
        super().__init__(message)
        self.kinds = tuple(kinds)


class Finding(ctypes.Structure):
    """watch.h's Finding."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("kind", "block", "thread", "other_block", "other_thread", "bytes")),
        *((name, ctypes.c_int32) for name in ("array", "write", "other_write")),
        ("offset", ctypes.c_int64),
        *((name, ctypes.c_uint64) for name in ("site", "other_site")),
        ("text", ctypes.c_char * 96),
    ]


class Step(ctypes.Structure):
    """watch.h's Step."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("kind", "bytes")),
        ("array", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("site", ctypes.c_uint64),
        ("value", ctypes.c_ubyte * 16),
    ]


@dataclass(frozen=True)
class Array:
    """An array that a kernel was given: its name there, the bytes of an element and how many there are."""

    name: str
    itemsize: int
    size: int


class Arrays:
    """The arrays of a launch: those that it was given, and the shared ones of its file, by their place in memory."""

    def __init__(self, given: Sequence[Array], library: Path):
        self.given = given
        self._library = library

    def element(self, array: int, offset: int) -> str:
        """An element in words. array: the number of a given one, or one of watch.cpp's for other memory."""
        if array == STATIC_SHARED:
            return self._shared(offset)
        if array < 0:
            return f"dynamic shared memory, byte {offset}" if array == DYNAMIC_SHARED else "what is none of its arrays"
        found = self.given[array]
        index = offset // found.itemsize
        beyond = "" if 0 <= index < found.size else f", which has {found.size} elements"
        return f"{found.name}[{index}]{beyond}"

    def _shared(self, offset: int) -> str:
        start = next(at for at, _, name in _symbols(self._library) if name == "__start_cuda_shared") + offset
        for at, size, name in _symbols(self._library):
            if at <= start < at + size:
                return f"{name}, byte {start - at}"
        return f"shared memory, byte {offset}"


@cache
def _symbols(library: Path) -> list[tuple[int, int, str]]:
    """Address, size and name of what a library defines."""
    listed = subprocess.run(["nm", "-CS", str(library)], capture_output=True, text=True, check=True).stdout
    found = []
    for line in listed.splitlines():
        at, *rest = line.split(maxsplit=3)
        if len(rest) == 3 and rest[1] in "dDbB":
            found.append((int(at, 16), int(rest[0], 16), re.sub(r"\(.*?\)", "", rest[2])))
        elif rest and rest[-1] == "__start_cuda_shared":
            found.append((int(at, 16), 0, rest[-1]))
    return found


def locate(library: Path, sites: Sequence[int], folder: Path) -> dict[int, tuple[str, int]]:
    """The file and line of each site, the return address of a call. What was inlined is where it was written,
    unless that is the machine's own header: then it is the line that used it."""
    if not sites:
        return {}
    command = ["addr2line", "-a", "-i", "-e", str(library), *(hex(site - 1) for site in sites)]
    lines = iter(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    frames: dict[int, list[tuple[str, int]]] = {}
    for line in lines:
        if line.startswith("0x"):
            here = frames.setdefault(int(line, 16) + 1, [])
        else:
            file, _, number = line.split(" (")[0].rpartition(":")
            here.append((file, int(number) if number.isdigit() else 0))
    return {
        site: next((f for f in found if not f[0].startswith(str(folder))), found[0]) for site, found in frames.items()
    }


def describe_finding(finding: Finding, arrays: Arrays, threads: tuple[int, int, int], where) -> str:
    """One finding in a few lines: what, who, and the source.  where: from `locate`."""
    me = f"thread {_thread(finding.thread, threads)} of block {finding.block}"
    other = f"thread {_thread(finding.other_thread, threads)} of block {finding.other_block}"
    what = arrays.element(finding.array, finding.offset)
    here = _line(where, finding.site)
    there = _line(where, finding.other_site)
    return {
        RACE: lambda: (
            f"race: {me} {'writes' if finding.write else 'reads'} {what}\n{here}\n"
            f"and {other} {'writes' if finding.other_write else 'reads'} it, in no order\n{there}"
        ),
        OUTSIDE: lambda: f"outside: {me} {'writes' if finding.write else 'reads'} {what}\n{here}",
        UNWRITTEN: lambda: f"unwritten: {me} reads {what}, which no thread has written\n{here}",
        BARRIER_APART: lambda: (
            f"barrier: {me} waits for all threads of its block\n{here}\n"
            + (f"but thread {_thread(finding.other_thread, threads)} "
               + (f"waits elsewhere\n{there}" if finding.other_site else "has returned"))
        ),
        LANES_APART: lambda: f"lanes: {me} waits for lanes of its mask that do not come\n{here}",
        ABSENT_LANE: lambda: f"absent lane: {me} reads the register of {other}, which is not in the mask\n{here}",
        MASK_WITHOUT_ITSELF: lambda: f"mask: {me} calls with a mask that lacks its own lane\n{here}",
        UNDEFINED: lambda: f"undefined: {me}: {finding.text.decode()}\n{here}",
        REFUSED: lambda: f"refused: {me}: {finding.text.decode()}\n{here}",
    }[finding.kind]()  # fmt: skip


def describe_step(step: Step, arrays: Arrays, dtypes: Sequence, where) -> str:
    """One step of a traced thread in a line."""
    import numpy as np

    file, number = where.get(step.site, ("", 0))
    place = f"{Path(file).name}:{number}"
    if step.kind == 3:
        return f"{place:24} meets    {linecache.getline(file, number).strip()}"
    dtype = np.dtype(dtypes[step.array] if step.array >= 0 else np.float32)
    values = np.frombuffer(bytes(step.value)[: step.bytes // dtype.itemsize * dtype.itemsize], dtype)
    verb = ("reads", "writes", "adds to")[step.kind]
    return f"{place:24} {verb:8} {arrays.element(step.array, step.offset)} = {', '.join(f'{v:.7g}' for v in values)}"


def _thread(number: int, threads: tuple[int, int, int]) -> str:
    x, y, _ = threads
    return str(number) if threads[1:] == (1, 1) else f"({number % x}, {number // x % y}, {number // (x * y)})"


def _line(where, site: int) -> str:
    if not site:
        return ""
    file, number = where[site]
    return f"    {file}:{number}: {linecache.getline(file, number).strip()}"
