"""Memory that is used again: large arrays take the memory of those that have died.

A training step asks for the sizes that the step before has given back. Fresh memory from the system costs a page fault
every 4 KiB, often more than the arithmetic on it, and how much the C library keeps of what is freed is a setting of the
host program. So the kernels ask `empty` for room for their results. An array returns its memory when the last
reference to it, or to a view of it, dies: nobody has to give it back, and nobody can too early.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from .arrays import array_module, device_of

__all__ = ["Pool", "empty", "empty_like", "release_memory", "use_pool"]

FLOAT = np.dtype(np.float32)
SMALLEST = 1 << 16  # bytes; below, malloc is as fast and its memory is warm
# Unless told otherwise, a forked process would write to the memory of its parent (Windows has no fork).
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
LARGE_PAGE = 1 << 21  # bytes, with most processors
CLASSES = 8  # sizes of blocks in each octave: a new block is at most an eighth larger than what is asked for
SPARE = 2  # a free block may be so many times as large: batches of many lengths share blocks, and need half the memory


class Pool:
    """Blocks of memory, free ones by their size. Threads may share it.

    poison: fill what comes back with NaN, so that a test sees who still looks at it.
    """

    def __init__(self, *, poison: bool = False):
        self.poison = poison
        self._free: defaultdict[int, list[mmap.mmap]] = defaultdict(list)
        self._used: dict[int, tuple[weakref.ref[np.ndarray], mmap.mmap]] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any = FLOAT) -> np.ndarray:
        """A C-contiguous array of this shape, its numbers undefined; from the system where no block is free."""
        if dtype is not FLOAT:
            dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST:
            return np.empty(shape, dtype)
        capacity = _capacity(size)
        block = self._find(capacity) or _from_system(capacity)
        array = np.ndarray(shape, dtype, block)  # views of it keep it alive, since its base is no array
        reference = weakref.ref(array, self._take_back)
        self._used[id(reference)] = reference, block
        return array

    def _find(self, capacity: int) -> mmap.mmap | None:
        """A free block: the smallest that is large enough and not more than SPARE times as large, if there is one."""
        if blocks := self._free[capacity]:
            return blocks.pop()
        fitting = (size for size, free in self._free.items() if free and capacity < size <= SPARE * capacity)
        size = min(fitting, default=0)
        return self._free[size].pop() if size else None

    def _take_back(self, reference: weakref.ref[np.ndarray]) -> None:
        _, block = self._used.pop(id(reference))
        if self.poison:
            np.frombuffer(block, np.uint8)[...] = 0xFF  # NaN, in every floating dtype
        self._free[len(block)].append(block)

    @property
    def free_bytes(self) -> int:
        """The memory that waits to be used again."""
        return sum(size * len(blocks) for size, blocks in self._free.items())

    def release(self) -> None:
        """Give the free blocks back to the system."""
        self._free.clear()


def _capacity(size: int) -> int:
    """The size of the block for so many bytes: one of CLASSES in each octave, in whole pages."""
    step = max((1 << size.bit_length() - 1) // CLASSES, mmap.PAGESIZE)
    return -(-size // step) * step


def _from_system(capacity: int) -> mmap.mmap:
    """A block whose pages are made at their first use, large ones where it holds some: they are found faster."""
    block = mmap.mmap(-1, capacity, **PRIVATE)
    if capacity >= LARGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


_SHARED = Pool()
_pool: ContextVar[Pool] = ContextVar("pool", default=_SHARED)


def empty(shape: tuple[int, ...], dtype: Any = FLOAT) -> np.ndarray:
    """A C-contiguous array of this shape from the pool in use, its numbers undefined."""
    return _pool.get().empty(shape, dtype)


def empty_like(x: Any) -> Any:
    """A C-contiguous array of the shape and dtype of `x`, on its device; CuPy has a pool of its own."""
    return array_module(x).empty_like(x) if device_of(x) == "gpu" else empty(x.shape, x.dtype)


def release_memory() -> None:
    """Give the memory that waits to be used again back to the system, such as after training."""
    _pool.get().release()


@contextlib.contextmanager
def use_pool(pool: Pool) -> Iterator[Pool]:
    """Within the block, the kernels take their memory from this pool. Holds for the current thread or task."""
    token = _pool.set(pool)
    try:
        yield pool
    finally:
        _pool.reset(token)
