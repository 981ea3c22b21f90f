"""Float32 matrix products: NumPy's own BLAS, run by the threads of the Numba kernels.

A program that alternates `np.matmul` and Numba kernels has two pools of threads. Each keeps its workers spinning for a
while after its work, on the cores that the other needs next: a training step took 10 times as long. Putting the
workers to sleep at once instead costs time whenever they are woken. So there is one pool here: a product is
cut into parts, and each thread of Numba's pool computes some with single-threaded calls of the BLAS that NumPy has
loaded. Where that is not OpenBLAS (macOS, some distributions), `np.matmul` runs. A few rows times a transposed matrix,
as in decoding, have a kernel of their own (`few_rows`).

The bits are the same for any number of threads. OpenBLAS computes the last rows and columns of a call by other code
than those before, and small products by another kernel altogether; each rounds in its own way. So what is cut depends
on the shapes alone (`cut`), except for the rows of large products: their parts are such that each gives the very bits
of the whole.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding
import numpy as np
from numba import prange, types

from .few_rows import FEW, few_rows
from .jit import LAUNCH, Twins, jit
from .openblas import GEMM, GEMV, GET_THREADS, SET_THREADS, find_openblas
from .pool import empty

__all__ = ["matmul"]

# CBLAS: row-major; not transposed, transposed.
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

# OpenBLAS itself uses one thread for products of at most so many multiplications: 65536 times 4.
SMALL = 1 << 18

# A part of some rows packs all of b, one of some columns all of a. Of few rows it is columns that are cut, where there
# are as many: that takes 0.7 to 0.9 of the time. The most parts that leave them this width take 0.93 to 1.05 of the
# time of one part for each of two threads, and 1.00 to 1.09 on one thread. Measured.
FEW_ROWS, COLUMN_PARTS, WIDTH = 256, (8, 4, 2), 64
# Rows are cut for any number of threads: at multiples of 24, since OpenBLAS's x86 kernels take 12 or 8 of them at a
# time and the rest by other code; and into parts that are never for the kernel for small products.
ROW_STEP, COLUMN_STEP, LEAST_PART = 24, 16, 1 << 21

SYMBOLS = {
    "tinylm_sgemm": GEMM,
    "tinylm_sgemv": GEMV,
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
_sgemv = types.ExternalFunction(
    "tinylm_sgemv",
    types.void(
        *[types.int32] * 2,  # order, transpose a
        *[types.int64] * 2,  # M, N
        *[types.float32, _pointer, types.int64, _pointer, types.int64],  # alpha, a, lda, x, its step
        *[types.float32, _pointer, types.int64],  # beta, y, its step
    ),
)
_set_blas_threads = types.ExternalFunction("tinylm_set_blas_threads", types.void(types.int32))
_get_blas_threads = types.ExternalFunction("tinylm_get_blas_threads", types.int32())


@jit
def _edge(part, parts, size, step):
    """Where a part begins: at a multiple of `step`."""
    return size if part == parts else (part * size // parts + step // 2) // step * step


@Twins
def _product(size, a, b, c, beta, row_parts, column_parts):
    """c (M, N) = a b + beta c, cut into parts. size: (M, N, K); a, b, c: see `_place`."""
    M, N, K = size
    threads = _get_blas_threads()
    _set_blas_threads(1)
    for part in prange(row_parts * column_parts):
        row, column = part // column_parts, part % column_parts
        top, bottom = _edge(row, row_parts, M, ROW_STEP), _edge(row + 1, row_parts, M, ROW_STEP)
        left, right = _edge(column, column_parts, N, COLUMN_STEP), _edge(column + 1, column_parts, N, COLUMN_STEP)
        b_at = b[0] + 4 * left * (b[1] if b[2] else 1)
        c_at = c[0] + 4 * (top * c[1] + left)
        if M == 1:  # b's transpose times the row
            height, width = (right - left, K) if b[2] else (K, right - left)
            order, step = PLAIN if b[2] else TRANSPOSED, a[1] if a[2] else 1
            _sgemv(ROW_MAJOR, order, height, width, np.float32(1), b_at, b[1], a[0], step, beta, c_at, 1)
        else:
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
                b_at,
                b[1],
                beta,
                c_at,
                c[1],
            )
    _set_blas_threads(threads)


def cut(M: int, N: int, K: int, threads: int) -> tuple[int, int]:
    """Into how many parts the rows and the columns of a product are cut, without effect on its bits."""
    work = M * N * K
    if M < FEW_ROWS and M <= N:
        return 1, next((parts for parts in COLUMN_PARTS if parts * WIDTH <= N), COLUMN_PARTS[-1])
    if work < 2 * LEAST_PART:
        return min(2, -(-M // ROW_STEP)), 1
    return max(min(threads, M // ROW_STEP, work // LEAST_PART), 1), 1


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None, *, accumulate: bool = False) -> np.ndarray:
    """a @ b for float32 matrices (M, K) and (K, N), either of which may be a transposed view.

    out: (M, N), C-contiguous; with accumulate the product is added to what it holds, which costs nothing.
    """
    if out is None:
        out = empty((a.shape[0], b.shape[1]))
    M, N = out.shape
    K = a.shape[1]
    if M <= FEW and M * N * K > SMALL and _has_rows(a) and _has_rows(b.T):
        few_rows(a, b.T, out, add=accumulate)
        return out
    if _openblas is None or M * N * K <= SMALL:
        return np.add(out, a @ b, out=out) if accumulate else np.matmul(a, b, out=out)
    a, b = _with_unit_stride(a), _with_unit_stride(b)
    threads = LAUNCH.threads()
    with LAUNCH:  # also in one thread, since BLAS has one number of threads for the process
        run = _product.serial if threads == 1 else _product.parallel
        run((M, N, K), _place(a), _place(b), _place(out), np.float32(accumulate), *cut(M, N, K, threads))
    return out


def _has_rows(matrix: np.ndarray) -> bool:
    """Whether the numbers of each row are next to each other."""
    down, right = matrix.strides
    return right == 4 and down % 4 == 0


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
