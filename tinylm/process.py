"""What makes a process that trains fast. The command line does it for itself.

A library must not change its host, so `import tinylm` does none of this. A script that trains may begin with
`tinylm.prepare_process()`, best before NumPy is imported.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["limit_threads", "prepare_process", "usable_threads"]

SETTINGS = {
    # Where a product runs in OpenBLAS' own threads, they spin for 2^4 clock cycles after it instead of 2^26, in which
    # they would take a core from the kernel that follows.
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # The layers that do not abort when several Python threads launch kernels come first.
    "NUMBA_THREADING_LAYER_PRIORITY": "omp tbb workqueue",
}

# What Numba, PyTorch and NumPy's BLAS read when they are loaded.
THREADS = ("OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")

# Parameters of glibc's mallopt, from its malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def prepare_process() -> None:
    """Set what the user has not set in the environment, and have freed memory kept for the next step."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if sys.platform == "linux":
        _keep_freed_memory()


def limit_threads(number: int) -> None:
    """Have matrix products, kernels and PyTorch run in so many threads. Raises RuntimeError once Numba is loaded."""
    if "numba" in sys.modules:
        raise RuntimeError("limit_threads: Numba is loaded, and has read the number of its threads")
    os.environ.update(dict.fromkeys(THREADS, str(number)))
    from tinylm_kernels.openblas import limit_blas_threads

    limit_blas_threads(number)  # which has read the variable if NumPy was loaded


def usable_threads() -> int:
    """The number that was set for the kernels, or else the cores that this process may use."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return int(os.environ.get("NUMBA_NUM_THREADS") or len(cores))


def _keep_freed_memory() -> None:
    """Have glibc reuse large arrays instead of returning them to the system.

    Each step frees what the next one asks for, and fresh pages cost more than the arithmetic on them. The kernels have
    a pool of their own for that; this is for what NumPy allocates between them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 64 << 20)
