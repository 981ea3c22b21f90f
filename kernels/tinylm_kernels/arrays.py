"""Which library an array belongs to, and the checks that the kernels share."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["SHARED_NAMES", "array_module", "check_out", "check_outs", "check_same_shape", "check_shape", "device_of"]

# What plain array code may use of an array module: NumPy and CuPy both have it, with the same meaning.
_NAMES = """
abs add all any arange argmax argsort ascontiguousarray bool_ broadcast_arrays broadcast_to clip concatenate copyto
cos cumsum dot einsum empty empty_like exp expand_dims float16 float32 float64 full full_like inf int32 int64
isfinite isnan log matmul maximum mean minimum moveaxis multiply nan ndim newaxis ones ones_like power prod
reciprocal repeat reshape result_type shape sign sin split sqrt square stack subtract sum take tanh tile transpose
tril true_divide uint32 uint64 uint8 unique where zeros zeros_like
"""
SHARED_NAMES = _NAMES.split()


def device_of(array: Any) -> str:
    """ "gpu" for CuPy's arrays, "cpu" for all others."""
    return "gpu" if type(array).__module__.partition(".")[0] == "cupy" else "cpu"


def array_module(array: Any) -> ModuleType:
    """The module whose functions work on `array`: numpy or cupy."""
    return sys.modules["cupy"] if device_of(array) == "gpu" else np


def check_shape(operation: str, name: str, array: Any, expected: tuple[int | None, ...]) -> None:
    """Raise ValueError unless `array` has the expected shape; None stands for any size."""
    shape = array.shape
    if len(shape) != len(expected) or any(e is not None and s != e for s, e in zip(shape, expected, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise ValueError(f"{operation}: {name} has shape {tuple(shape)}, expected ({wanted})")


def check_out(operation: str, out: Any, shape: tuple[int, ...], dtype: Any, name: str = "out") -> None:
    """Raise unless `out` is None or an array that holds a result of this shape and dtype."""
    if out is None:
        return
    if tuple(out.shape) != tuple(shape):
        raise ValueError(f"{operation}: {name} has shape {tuple(out.shape)}, expected {tuple(shape)}")
    if out.dtype != dtype:
        raise TypeError(f"{operation}: {name} has dtype {out.dtype}, expected {dtype}")


def check_outs(operation: str, outs: Any, results: tuple[Any, ...]) -> None:
    """Raise unless `outs` is None or holds one array for each of `results`, arrays of the results' kinds."""
    if outs is None:
        return
    if len(outs) != len(results):
        raise ValueError(f"{operation}: out holds {len(outs)} arrays, expected {len(results)}")
    for i, (out, result) in enumerate(zip(outs, results, strict=True)):
        check_out(operation, out, result.shape, result.dtype, f"out[{i}]")


def check_same_shape(operation: str, first: str, a: Any, second: str, b: Any) -> None:
    """Raise ValueError unless `a` and `b` have the same shape."""
    if a.shape != b.shape:
        raise ValueError(f"{operation}: {first} has shape {tuple(a.shape)} but {second} has {tuple(b.shape)}")
