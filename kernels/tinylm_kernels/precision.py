"""The precision that layers multiply matrices in: float32, or faster with operands rounded to bfloat16.

Everything else stays in float32: weights, activations between operations, sums, and what is no matrix product.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from .matmul_bfloat16 import matmul_bfloat16

__all__ = ["PRECISIONS", "current_precision", "precision", "why_not_bfloat16"]

PRECISIONS = ("float32", "bfloat16")
_precision: ContextVar[str] = ContextVar("precision", default="float32")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Within the block the compiled `linear`, its gradients and `linear_cross_entropy` multiply in this precision.

    It matters for float32 arrays on a CPU. "bfloat16" is fast where `why_not_bfloat16` is None, and right everywhere.
    Raises ValueError for a name that is not in PRECISIONS. Holds for the current thread or task.
    """
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; there are {', '.join(PRECISIONS)}")
    token = _precision.set(name)
    try:
        yield
    finally:
        _precision.reset(token)


def current_precision() -> str:
    """The precision of the block that runs."""
    return _precision.get()


@functools.cache
def why_not_bfloat16() -> str | None:
    """What keeps products in bfloat16 from being fast on this machine, in words; None where nothing does."""
    if importlib.util.find_spec("numba") is None:
        return "Numba is not installed"
    if "numba" not in matmul_bfloat16.implementations:
        return "this processor does not have the instructions AVX512-BF16"
    a = np.linspace(-1, 1, 33 * 70, dtype=np.float32).reshape(33, 70)
    if not np.allclose(matmul_bfloat16["numba"](a, a.T), matmul_bfloat16["numpy"](a, a.T), rtol=1e-4, atol=1e-4):
        return "its products are wrong on this machine"  # a compiler that takes the instructions for others
    return None
