"""The machine: its name, its versions, and the two roofs that no kernel passes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

# Numbers of each array that is copied: 64 MB a thread, at most 512 MB in all.
COPIED, COPIED_BY_ALL = 16 << 20, 128 << 20


@dataclass(frozen=True)
class Roofs:
    """What no kernel passes: bytes read and written a second in a copy, floating operations in a matrix product."""

    bandwidth: float
    product: float

    def least_time(self, flops: float, moved: float) -> tuple[float, str]:
        """The seconds that so much work takes at least, and which roof binds it: "memory" or "compute"."""
        memory, compute = moved / self.bandwidth, flops / self.product
        return (memory, "memory") if memory > compute else (compute, "compute")

    @property
    def ridge(self) -> float:
        """The floating operations a byte from which on arithmetic binds."""
        return self.product / self.bandwidth


def measure_roofs(threads: int, seconds: float = 1.0) -> Roofs:
    """Both, in so many seconds each."""
    return Roofs(copy_bandwidth(threads, seconds), matmul_rate(seconds))


def fastest(function: Callable[[], Any], seconds: float) -> float:
    """The least time of a call, over this many seconds."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    return best


def copy_bandwidth(threads: int, seconds: float) -> float:
    """Bytes read and written in a second when each thread copies an array far larger than the caches, the best way."""
    return max(copy_rates(threads, seconds).values())


def copy_rates(threads: int, seconds: float) -> dict[str, float]:
    """That of each way to copy: "plain", as NumPy does, and, with Numba, "streaming", past the caches."""
    count = min(COPIED, COPIED_BY_ALL // threads)
    pairs = [(np.ones(count, np.float32), np.empty(count, np.float32)) for _ in range(threads)]
    copies: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {"plain": lambda x, y: np.copyto(y, x)}
    if find_spec("numba"):
        from tinylm_kernels.streaming import stream_copy

        copies["streaming"] = stream_copy
    rates = {}
    with ThreadPoolExecutor(threads) as pool:
        for way, copy in copies.items():
            took = fastest(partial(_copy_all, pool, copy, pairs), seconds)
            rates[way] = sum(x.nbytes + y.nbytes for x, y in pairs) / took
    return rates


def _copy_all(pool: ThreadPoolExecutor, copy: Callable[..., None], pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    list(pool.map(copy, *zip(*pairs, strict=True)))


def matmul_rate(seconds: float, n: int = 1536) -> float:
    """Floating operations in a second of a product of float32 matrices."""
    a, b, out = np.ones((n, n), np.float32), np.ones((n, n), np.float32), np.empty((n, n), np.float32)
    return 2 * n**3 / fastest(lambda: np.matmul(a, b, out=out), seconds)


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions(*packages: str) -> dict[str, str]:
    """What the numbers depend on: the machine, Python, NumPy, Numba and these packages, where they are installed."""
    found = {"python": platform.python_version(), "system": platform.system()}
    for package in ("numpy", "numba", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return {**found, "processor": processor(), "cores": str(os.cpu_count())}
