"""A user's file of implementations: imported, so that its decorators register them."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

import tinylm_kernels as K

from ..errors import TinylmError

__all__ = ["import_implementations"]


def import_implementations(file: str) -> list[str]:
    """Import the file; the names of the kernels for which it registers implementations.

    Raises TinylmError where it cannot be read, raises an exception (as a decorator does for a wrong signature) or
    registers nothing.
    """
    path = Path(file).absolute()
    if not path.is_file():
        raise TinylmError(f"{file}: there is no such file; --module takes a Python file that registers implementations")
    before = _registered()  # loads our own, which shall come first
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or name in sys.modules:
        why = "that name is taken by a module" if spec and spec.loader else "a module's name ends in .py"
        raise TinylmError(f"{file}: cannot be imported: {why}; give the file another name")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise TinylmError(f"{file}{_line(error, path)}: {type(error).__name__}: {error}") from error
    added = {kernel for kernel, _ in _registered() - before}
    if not added:
        raise TinylmError(f'{file} registers nothing; decorate a function with, say, @softmax.implement("mine")')
    return sorted(added)


def _registered() -> set[tuple[str, str]]:
    return {(name, mine) for name, kernel in K.all_kernels().items() for mine in kernel.implementations}


def _line(error: BaseException, path: Path) -> str:
    """The line of the file that was at fault, as it follows its name."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return f":{line}" if line else ""
