"""Runs a kernel on the machine and says what was wrong with it."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..cuda.source import Source
from .build import HERE, build
from .findings import KINDS, Array, Arrays, EmulationError, Finding, Step, describe_finding, describe_step, locate

__all__ = ["Emulated", "Launch"]

# Bytes around each array, in which an access is a mistake and does no harm.
MARGIN = 4096
ALIGNMENT = 256


@dataclass(frozen=True)
class Launch:
    """How a kernel is started. order: 0 threads and blocks one after the other, 1 backwards, above: shuffled by it.

    trace: (block, thread), the one whose steps are kept, both as plain numbers.
    """

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0
    order: int = 0
    trace: tuple[int, int] | None = None
    steps: list[str] = field(default_factory=list)


class Emulated:
    """The kernels of a .cu file, compiled for this processor.

    checks: watch every access of memory (20 to 100 times slower); without, a mistake is what it is in C.
    """

    def __init__(self, source: Source, defines: dict[str, str] | None = None, *, checks: bool = True):
        self.source, self.checks = source, checks
        self.path = build(source, defines or {}, checks)
        self._library = _open(self.path)

    def run(self, name: str, launch: Launch, arguments: tuple[Any, ...]) -> None:
        """Run a kernel on NumPy arrays, C-contiguous, and NumPy scalars; None is a null pointer.

        Raises EmulationError for races, accesses outside of arrays, barriers that not all reach, and their like.
        """
        kernel = getattr(self._library, f"run_{name}")
        parameters = self.source.kernels[name].parameters
        arrays = [(p, a) for p, a in zip(parameters, arguments, strict=True) if isinstance(a, np.ndarray)]
        rooms = {id(a): _Room(a) for _, a in arrays} if self.checks else {}
        pointers = [_pointer(rooms[id(a)].copy if id(a) in rooms else a) for a in arguments]
        holders = [p if isinstance(p, ctypes._SimpleCData) else ctypes.c_char.from_buffer(p) for p in pointers]
        argv = (ctypes.c_void_p * len(holders))(*(ctypes.addressof(h) for h in holders))
        if self.checks:
            for i, (_, a) in enumerate(arrays):
                rooms[id(a)].register(self._library, i)
        self._library.emulator_trace(*(launch.trace or (0xFFFFFFFF, 0)))
        found = self._library.emulator_launch(
            kernel, argv, _triple(launch.grid), _triple(launch.block), launch.shared, launch.order
        )
        if self.checks:
            for parameter, a in arrays:
                if not parameter.const:
                    rooms[id(a)].give_back(a)
        names = Arrays([Array(p.name, a.itemsize, a.size) for p, a in arrays], self.path)
        if launch.trace is not None:
            launch.steps.extend(self._steps(names, [a.dtype for _, a in arrays]))
        if found:
            raise self._error(name, launch, names, found)

    def _steps(self, names: Arrays, dtypes: list[np.dtype]) -> list[str]:
        number = ctypes.c_size_t()
        steps = self._library.emulator_steps(ctypes.byref(number))[: number.value]
        where = locate(self.path, sorted({s.site for s in steps}), HERE)
        return [describe_step(s, names, dtypes, where) for s in steps]

    def _error(self, name: str, launch: Launch, arrays: Arrays, number: int) -> EmulationError:
        findings = self._library.emulator_findings()[:number]
        sites = sorted({s for f in findings for s in (f.site, f.other_site) if s})
        where = locate(self.path, sites, HERE)
        texts = [describe_finding(f, arrays, launch.block, where) for f in findings]
        head = f"{name}, grid {launch.grid}, block {launch.block}: {number} mistake{'s' * (number > 1)}"
        return EmulationError("\n\n".join([head, *texts]), [KINDS[f.kind] for f in findings])


class _Room:
    """A copy of an array with margins, as the kernel sees it."""

    def __init__(self, array: np.ndarray):
        size = math.ceil(array.nbytes / ALIGNMENT) * ALIGNMENT
        self._bytes = np.full(2 * MARGIN + size + ALIGNMENT, 0xFF, np.uint8)
        start = MARGIN + -(self._bytes.ctypes.data + MARGIN) % ALIGNMENT
        self.copy = self._bytes[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.copy[...] = array
        self._registered = False

    def register(self, library: ctypes.CDLL, number: int) -> None:
        if not self._registered:
            library.emulator_add_array(self.copy.ctypes.data, self.copy.nbytes, MARGIN - ALIGNMENT, number)
        self._registered = True

    def give_back(self, array: np.ndarray) -> None:
        array[...] = self.copy


def _pointer(argument: Any) -> Any:
    """What an argument is where the kernel finds it: an address, or the bytes of a number."""
    if argument is None:
        return ctypes.c_void_p(0)
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    return bytearray(argument.tobytes())


def _triple(numbers: tuple[int, int, int]) -> Any:
    return (ctypes.c_uint * 3)(*numbers)


@cache
def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.emulator_launch.restype = ctypes.c_size_t
    library.emulator_launch.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t, ctypes.c_uint]
    library.emulator_add_array.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    library.emulator_trace.argtypes = [ctypes.c_uint, ctypes.c_uint]
    library.emulator_findings.restype = ctypes.POINTER(Finding)
    library.emulator_steps.restype = ctypes.POINTER(Step)
    return library
