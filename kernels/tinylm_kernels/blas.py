"""Float32 matrix products: NumPy's own BLAS, run by the threads of the Numba kernels.

A program that alternates `np.matmul` and Numba kernels has two pools of threads. Each keeps its workers spinning for a
while after its work, on the cores that the other needs next: a training step took 10 times as long. Putting the
workers to sleep at once instead costs time whenever they are woken. So there is one pool here: a product is
cut into parts, and each thread of Numba's pool computes one with a single-threaded call of the BLAS that NumPy has
loaded. Where that is not OpenBLAS (macOS, some distributions), `np.matmul` runs.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding
import numba
import numpy as np
from numba import prange, types

from .jit import LAUNCH, jit
from .openblas import GEMM, GET_THREADS, SET_THREADS, find_openblas
from .pool import empty

__all__ = ["matmul"]

# CBLAS: row-major; not transposed, transposed.
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

# OpenBLAS itself uses one thread for products of at most so many multiplications: 65536 times 4.
SMALL = 1 << 18

# Each part of some rows packs all of b; where it has fewer rows than this, that costs more than it gains, and columns
# are cut. Products of 64 to 255 rows take 0.7 to 0.9 of the time that they take with parts of 32 rows. Measured.
NARROW = 128


SYMBOLS = {
    "tinylm_sgemm": GEMM,
    "tinylm_set_blas_threads": SET_THREADS,
    "tinylm_get_blas_threads": GET_THREADS,
}
_openblas = find_openblas()
if _openblas is not None:
    for _name, _symbol in SYMBOLS.items():
        _address = ctypes.cast(getattr(_openblas, _symbol), ctypes.c_void_p).value
        llvmlite.binding.add_symbol(_name, _address)

# Pointers are passed as the integers they are: Numba would compile a function anew for each kind of array.
_pointer = types.int64
_sgemm = types.ExternalFunction(
    "tinylm_sgemm",
    types.void(
        *[types.int32] * 3,  # order, transpose a, transpose b
        *[types.int64] * 3,  # M, N, K
        *[types.float32, _pointer, types.int64, _pointer, types.int64],  # alpha, a, lda, b, ldb
        *[types.float32, _pointer, types.int64],  # beta, c, ldc
    ),
)
_set_blas_threads = types.ExternalFunction("tinylm_set_blas_threads", types.void(types.int32))
_get_blas_threads = types.ExternalFunction("tinylm_get_blas_threads", types.int32())


@jit(parallel=True)
def _product(size, a, b, c, beta, row_parts, column_parts):
    """c (M, N) = a b + beta c, cut into parts. size: (M, N, K); a, b, c: see `_place`."""
    M, N, K = size
    threads = _get_blas_threads()
    _set_blas_threads(1)
    for part in prange(row_parts * column_parts):
        row, column = part // column_parts, part % column_parts
        top, bottom = row * M // row_parts, (row + 1) * M // row_parts
        left, right = column * N // column_parts, (column + 1) * N // column_parts
        _sgemm(
            ROW_MAJOR,
            TRANSPOSED if a[2] else PLAIN,
            TRANSPOSED if b[2] else PLAIN,
            bottom - top,
            right - left,
            K,
            np.float32(1),
            a[0] + 4 * top * (1 if a[2] else a[1]),
            a[1],
            b[0] + 4 * left * (b[1] if b[2] else 1),
            b[1],
            beta,
            c[0] + 4 * (top * c[1] + left),
            c[1],
        )
    _set_blas_threads(threads)


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, *, accumulate: bool = False) -> np.ndarray:
    """a @ b for float32 matrices (M, K) and (K, N), either of which may be a transposed view.

    out: (M, N), C-contiguous; with accumulate the product is added to what it holds, which costs nothing.
    """
    if out is None:
        out = empty((a.shape[0], b.shape[1]))
    M, N = out.shape
    K = a.shape[1]
    if _openblas is None or M * N * K <= SMALL:
        return np.add(out, a @ b, out=out) if accumulate else np.matmul(a, b, out=out)
    a, b = _with_unit_stride(a), _with_unit_stride(b)
    parts = numba.get_num_threads()
    cut = (parts, 1) if min(N, NARROW * parts) <= M else (1, parts)
    with LAUNCH:
        _product((M, N, K), _place(a), _place(b), _place(out), np.float32(accumulate), *cut)
    return out


def _with_unit_stride(matrix: np.ndarray) -> np.ndarray:
    """The matrix itself where BLAS can read it, in rows or in columns that lie apart; else a copy."""
    (height, width), (down, right) = matrix.shape, matrix.strides
    fits = (right == 4 and down >= 4 * width) or (down == 4 and right >= 4 * height)
    return matrix if fits and not (down | right) % 4 else np.ascontiguousarray(matrix)


def _place(matrix: np.ndarray) -> tuple[int, int, bool]:
    """Where a matrix lies, as BLAS says it: address, numbers from a row to the next, and whether rows are columns."""
    down, right = matrix.strides
    plain = right == 4 and down >= 4 * matrix.shape[1]
    return matrix.__array_interface__["data"][0], (down if plain else right) // 4, not plain
