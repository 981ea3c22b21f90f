"""The machine: its name, its versions, and the two roofs that no kernel passes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def fastest(function: Callable[[], Any], seconds: float) -> float:
    """The least time of a call, over this many seconds."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    return best


def copy_bandwidth(threads: int, seconds: float = 1.0) -> float:
    """Bytes read and written in a second when each thread copies an array far larger than the caches."""
    pairs = [(np.ones(16 << 20, np.float32), np.empty(16 << 20, np.float32)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        took = fastest(lambda: list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs)), seconds)
    return sum(a.nbytes + b.nbytes for a, b in pairs) / took


def matmul_rate(seconds: float = 1.0, n: int = 1536) -> float:
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


def versions(torch: Any) -> dict[str, str]:
    """What the numbers depend on."""
    found = {"python": platform.python_version(), "numpy": np.__version__, "system": platform.system()}
    try:
        import numba

        found["numba"] = numba.__version__
    except ImportError:
        pass
    if torch is not None:
        found["torch"] = torch.__version__
    return {**found, "processor": processor(), "cores": str(os.cpu_count())}
