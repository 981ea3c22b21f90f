"""From a .cu file to a library that this machine's processor runs: g++, and what it made kept by its contents."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from ..cache import cache_folder
from ..cuda.source import Signature, Source

__all__ = ["NoCompilerError", "build"]

HERE = Path(__file__).parent
MACHINE = ("machine.cpp", "watch.cpp")
HEADERS = ("machine.h", "watch.h", "device.h")
OPTIONS = ("-std=c++17", "-fPIC", "-Wall", "-Wextra", "-Werror")
# What a CUDA compiler does not warn of: a kernel's last index is often unsigned, its bounds are not.
KERNEL_OPTIONS = (
    "-O1",
    "-gdwarf-4",
    "-Wno-sign-compare",
    "-Wno-unknown-pragmas",
    "-Wno-unused-parameter",
    "-fno-math-errno",
)
# A call before each access of memory, which watch.cpp answers, and a call at each of these mistakes.
CHECKS = (
    "-fsanitize=thread",
    "-fsanitize=alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero",
    "-fno-sanitize-address-use-after-scope",
)


class NoCompilerError(RuntimeError):
    """There is no g++ to compile kernels for the emulator with."""


def build(source: Source, defines: dict[str, str], checks: bool) -> Path:
    """The library of the kernels of a file, each as `run_NAME(void** arguments)`; compiled where it is not kept.

    Raises NoCompilerError without g++, ValueError with the compiler's message for a file that it refuses.
    """
    options = [*KERNEL_OPTIONS, *(CHECKS if checks else ()), *(f"-D{name}={value}" for name, value in defines.items())]
    code = source.text + "\n" + "".join(map(_entry, source.kernels.values()))
    return _library(source.name, code, tuple(options))


def _entry(kernel: Signature) -> str:
    """A function through which Python calls a kernel: it reads the arguments as cuLaunchKernel gets them."""
    arguments = ", ".join(
        f"*static_cast<{'const ' * p.const}{p.type}{'*' * p.pointer}*>(arguments[{i}])"
        for i, p in enumerate(kernel.parameters)
    )
    return (
        f'extern "C" __attribute__((no_sanitize("thread", "undefined"))) void run_{kernel.name}(void** arguments) '
        f"{{ {kernel.name}({arguments}); }}\n"
    )


@cache
def _library(name: str, code: str, options: tuple[str, ...]) -> Path:
    machine = _machine()
    folder = cache_folder() / "emulator"
    made = folder / f"{name}-{_digest(code, *options, machine.stem)}.so"
    if not made.exists():
        unit = made.with_suffix(".cu")
        unit.write_text(code, encoding="utf-8")
        _compile(["-x", "c++", "-include", str(HERE / "device.h"), *OPTIONS, *options, "-c", str(unit)], _object(made))
        _compile(["-shared", str(_object(made)), str(machine)], made)
        _object(made).unlink()
    return made


@cache
def _machine() -> Path:
    """The machine, compiled once."""
    texts = [(HERE / name).read_text(encoding="utf-8") for name in (*MACHINE, *HEADERS)]
    folder = cache_folder() / "emulator"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"machine-{_digest(*texts, _version())}.o"
    if not made.exists():
        parts = [_object(made.with_suffix(f".{name}")) for name in MACHINE]
        for name, part in zip(MACHINE, parts, strict=True):
            _compile([*OPTIONS, "-O2", "-c", str(HERE / name)], part)
        _compile(["-r", "-nostdlib", *map(str, parts)], made)
        for part in parts:
            part.unlink()
    return made


def _object(path: Path) -> Path:
    return path.with_name(path.name + ".o")


def _compile(arguments: list[str], made: Path) -> None:
    """Run g++; what it makes takes its name at the end, so that two processes may make it at once."""
    rough = made.with_name(f"{made.name}.{os.getpid()}")
    done = subprocess.run([_compiler(), *arguments, "-o", str(rough)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"g++ refuses it:\n{done.stderr}")
    rough.replace(made)


@cache
def _compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        raise NoCompilerError(
            "the emulator runs CUDA kernels that g++ has compiled, and there is no g++ here; get it with your system's "
            "packages: apt install g++, dnf install gcc-c++, or xcode-select --install"
        )
    return found


@cache
def _version() -> str:
    return subprocess.run([_compiler(), "--version"], capture_output=True, text=True).stdout


def _digest(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]
