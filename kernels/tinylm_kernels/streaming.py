"""Large results, written past the caches: a line that is written in whole need not be read before.

A store to memory that is not in the cache reads the line first, so that a copy moves three bytes for each two. On two
cores of a Zen 4 with 32 MB of cache, two arrays of 128 MB are copied with 35 GB/s, and streamed with 52; two of 8 MB,
which stay in the cache, with 160, and streamed with 56.
"""

import numpy as np

from .jit import jit
from .vectors import LANES, LINE, load, store, store_some, stream

__all__ = ["CHUNK", "floats_before_line", "put", "stream_copy", "streams"]

# Bytes of a result from which on it is streamed: together with what it is made from, more than most caches hold.
STREAM_FROM = 1 << 23
# Elements of a flat array that a task takes, whole lines of it.
CHUNK = 1 << 13


def streams(*results: np.ndarray) -> bool:
    """Whether these are to be streamed: large, and where they have rows, these begin at lines."""
    for a in results:  # a generator in all() would take longer than some kernels
        if a.nbytes < STREAM_FROM or (a.ctypes.data | max(a.strides[:-1], default=0)) % int(LINE):
            return False
    return True


@jit
def put(address, value, n, streaming):
    """`write`, past the caches where `streaming` says so and n >= 16."""
    if n < LANES:
        store_some(address, value, n)
    elif streaming:
        stream(address, value)
    else:
        store(address, value)


@jit
def floats_before_line(address, n):
    """How many of n floats lie before the first whole line, from which on they can be streamed."""
    return min(n, -address % LINE // 4)


@jit
def _stream_copy(x, y, size):
    for i in range(0, size, LINE):
        stream(y + i, load(x + i))


def stream_copy(x: np.ndarray, y: np.ndarray) -> None:
    """Copy the whole lines of x to those of y, both C-contiguous, and what is around them as NumPy does."""
    source, target = x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8)
    start = -target.ctypes.data % int(LINE)
    stop = start + (len(target) - start) // int(LINE) * int(LINE)
    _stream_copy(source.ctypes.data + start, target.ctypes.data + start, stop - start)
    target[:start], target[stop:] = source[:start], source[stop:]
