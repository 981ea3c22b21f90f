"""Compiles a .cu file for a card that is not there: NVRTC from its wheels needs no driver.

CuPy compiles with NVRTC too, for the card that it finds; what passes here, passes there.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .program import OPTIONS
from .source import Source

__all__ = ["Compiled", "Compiler", "Resources", "compilers"]

# What CuPy adds to a program's own options.
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")
_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers(?:.*?, (?P<shared>\d+) bytes smem)?[^\n]*",
    re.DOTALL,
)


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a multiprocessor: registers a thread; bytes of stack, spilled, and of shared memory."""

    registers: int
    stack: int
    spilled: int
    shared: int


@dataclass(frozen=True)
class Compiled:
    """Machine code for an architecture, and what each of its kernels takes."""

    code: bytes
    kernels: dict[str, Resources]


class Compiler:
    """One version of NVRTC."""

    def __init__(self, library: Path):
        self._library = ctypes.CDLL(str(library))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        self.version = (major.value, minor.value)

    def __repr__(self) -> str:
        return f"<NVRTC {self.version[0]}.{self.version[1]}>"

    @property
    def architectures(self) -> list[int]:
        """What it compiles for: 90 is sm_90."""
        number = ctypes.c_int()
        self._library.nvrtcGetNumSupportedArchs(ctypes.byref(number))
        found = (ctypes.c_int * number.value)()
        self._library.nvrtcGetSupportedArchs(found)
        return list(found)

    def compile(self, source: Source, architecture: int, defines: dict[str, str] | None = None) -> Compiled:
        """Compile a file. Raises ValueError with NVRTC's message where it refuses or warns."""
        library, program = self._library, ctypes.c_void_p()
        library.nvrtcCreateProgram(ctypes.byref(program), source.text.encode(), source.name.encode(), 0, None, None)
        options = [
            f"-arch=sm_{architecture}",
            "--ptxas-options=-v",
            *OPTIONS,
            *CUPY_OPTIONS,
            *(f"-D{name}={value}" for name, value in (defines or {}).items()),
        ]
        try:
            failed = library.nvrtcCompileProgram(
                program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
            )
            log = self._bytes(program, "ProgramLog").decode().rstrip("\0")
            if failed or "): warning" in log:  # of a line, not of an old architecture
                raise ValueError(f"{self} refuses {source.name} for sm_{architecture}:\n{log}")
            return Compiled(self._bytes(program, "CUBIN"), _resources(log))
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw


def _resources(log: str) -> dict[str, Resources]:
    """What ptxas says of each kernel."""
    return {
        entry["name"]: Resources(
            int(entry["registers"]),
            int(entry["stack"]),
            int(entry["stores"]) + int(entry["loads"]),
            int(entry["shared"] or 0),
        )
        for entry in _ENTRY.finditer(log)
    }


@cache
def compilers() -> tuple[Compiler, ...]:
    """Every NVRTC that is installed as a wheel (nvidia-cuda-nvrtc, nvidia-cuda-nvrtc-cu12), the oldest first."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec is not None else None
    found = {
        library
        for folder in folders or []
        for pattern in ("libnvrtc.so.*", "nvrtc64_*_0.dll")
        for library in Path(folder).rglob(pattern)
        if ".alt." not in library.name
    }
    return tuple(sorted(map(Compiler, sorted(found)), key=lambda compiler: compiler.version))
