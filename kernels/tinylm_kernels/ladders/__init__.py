"""Ladders: a kernel in four short steps from plain loops to threads, for those who want to learn how it becomes fast.

Each step is an implementation of the kernel like any other, under the names of RUNGS; the one in use, "numba", is the
step after them. They are registered when `load_ladder` is called, and never chosen: by name (`softmax["v0_loops"]`) or
by `use` alone. docs/kernels.md tells what each of them teaches.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from ..registry import Kernel

__all__ = ["LADDERS", "RUNGS", "load_ladder", "rungs_of"]

RUNGS = ("v0_loops", "v1_vectorised", "v2_fused", "v3_parallel")
# The kernels that have a ladder: the module of the same name in this package.
LADDERS = ("softmax", "attention", "lstm", "linear")


def load_ladder(kernel: str) -> None:
    """Register the rungs of one of LADDERS. Needs Numba."""
    importlib.import_module(f"{__name__}.{kernel}")


def rungs_of(kernel: Kernel, run: Callable[..., Any]) -> Callable[[Any], Any]:
    """Decorator for the compiled functions of a ladder: each is registered under its own name.

    run(loops, *arrays, **settings) has the kernel's signature behind its first parameter; it hands the arrays to
    `loops`, the compiled function, in the form that all rungs of the kernel take.
    """

    def register(loops: Any) -> Any:
        function = functools.partial(run, loops)
        signature = inspect.signature(function)
        functools.update_wrapper(function, loops)
        function.__signature__ = signature  # type: ignore[attr-defined] # not that of `loops`
        kernel.implement(loops.__name__, dtypes=("float32",), when=_never)(function)
        return loops

    return register


def _never(*arrays: Any, **settings: Any) -> bool:
    return False
