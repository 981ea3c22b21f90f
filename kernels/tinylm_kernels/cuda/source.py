"""A .cu file as its compilers get it, and what its kernels take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Parameter", "Signature", "Source", "parse_source", "read_source"]

_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)'
)
_PARAMETER = re.compile(
    r"(?P<const>const )?(?P<type>unsigned long long|unsigned char|signed char|long long|\w+)"
    r" ?(?P<pointer>\*)? ?(?:__restrict__ )?(?P<name>\w+)"
)
_BARRIER = re.compile(r"__sync(?:threads|warp)\([^)]*\);")
_LINE = re.compile(r'#line (?P<number>\d+) "(?P<file>[^"]+)"')
_INCLUDE = re.compile(r'^#include "(?P<file>[^"]+)"$')


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: `const T* x` is ("x", "T", pointer, const)."""

    name: str
    type: str
    pointer: bool
    const: bool


@dataclass(frozen=True)
class Signature:
    """A kernel's name and parameters."""

    name: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Source:
    """A .cu file with what it includes in place: `text` is what NVRTC and g++ compile, with #line for messages."""

    name: str
    text: str
    kernels: dict[str, Signature]

    def barriers(self) -> list[tuple[str, int]]:
        """The file and line of every barrier, in the order of the text."""
        found, file, number = [], self.name, 0
        for line in self.text.split("\n"):
            number += 1
            if at := _LINE.fullmatch(line):
                file, number = at["file"], int(at["number"]) - 1
            found += [(file, number)] * len(_BARRIER.findall(line))
        return found

    def without_barrier(self, which: int) -> str:
        """The text with one of `barriers` left out."""
        match = list(_BARRIER.finditer(self.text))[which]
        return self.text[: match.start()] + ";" + self.text[match.end() :]


@cache
def read_source(path: Path) -> Source:
    """The source of a .cu file. Raises ValueError for a kernel whose parameters cannot be read."""
    return parse_source(path.stem, "\n".join(_lines(path.resolve(), set())))


def parse_source(name: str, text: str) -> Source:
    """The source of a text that includes nothing more. Raises ValueError as `read_source` does."""
    bare = _COMMENTS.sub("", text)
    return Source(name, text, {m["name"]: Signature(m["name"], _parameters(name, m)) for m in _KERNEL.finditer(bare)})


def _parameters(source: str, kernel: re.Match[str]) -> tuple[Parameter, ...]:
    parameters = []
    for text in kernel["parameters"].split(","):
        found = _PARAMETER.fullmatch(" ".join(text.split()))
        if found is None:
            raise ValueError(f"{source}: cannot read the parameter {text.strip()!r} of the kernel {kernel['name']}")
        parameters.append(
            Parameter(found["name"], found["type"], found["pointer"] is not None, found["const"] is not None)
        )
    return tuple(parameters)


def _lines(path: Path, included: set[Path]) -> list[str]:
    """The lines of a file, with those of each file that it includes, once, in the place of the #include."""
    lines = [f'#line 1 "{path.as_posix()}"']
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        include = _INCLUDE.match(line)
        if include is None:
            lines.append("" if line == "#pragma once" else line)
            continue
        file = (path.parent / include["file"]).resolve()
        if file not in included:
            included.add(file)
            lines += _lines(file, included)
            lines.append(f'#line {number + 1} "{path.as_posix()}"')
    return lines
