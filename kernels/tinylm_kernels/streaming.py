"""Results far larger than the caches, written past them: a line that is written in whole is not read before.

A store to memory that is not in the cache reads the line first, so that a copy moves three bytes for each two. On two
cores of a Zen 4 with 32 MB of cache, two arrays of 128 MB are copied with 35 GB/s, and streamed with 52; two of 8 MB
with 160, and streamed with 56.
"""

import numpy as np

from .jit import jit
from .vectors import LINE, load, stream

__all__ = ["stream_copy"]


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
