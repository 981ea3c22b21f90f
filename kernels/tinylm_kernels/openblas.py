"""The OpenBLAS that NumPy's wheel brings and has loaded, by ctypes."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

__all__ = ["GEMM", "GEMV", "GET_THREADS", "SET_THREADS", "find_openblas", "limit_blas_threads"]

# With 64-bit integers, under the names that NumPy's wheels give them.
GEMM, GEMV = "scipy_cblas_sgemm64_", "scipy_cblas_sgemv64_"
SET_THREADS, GET_THREADS = "scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"


def find_openblas() -> ctypes.CDLL | None:
    """The library; None where NumPy has another BLAS."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for file in sorted(folder.glob("*openblas64*")) if folder.is_dir() else ():
            library = ctypes.CDLL(str(file))
            if all(hasattr(library, name) for name in (GEMM, GEMV, SET_THREADS, GET_THREADS)):
                return library
    return None


def limit_blas_threads(number: int) -> None:
    """Have NumPy's own products run in so many threads, where its BLAS is OpenBLAS."""
    library = find_openblas()
    if library is not None:
        getattr(library, SET_THREADS)(ctypes.c_int(number))
