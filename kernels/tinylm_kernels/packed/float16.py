"""float16 beside float32: weights of half the size."""

from __future__ import annotations

import numpy as np

from .base import Packed

__all__ = ["F16"]


class F16(Packed, numpy_has_it=True):
    """IEEE 754's binary16, little-endian: NumPy's float16, as what a product with float32 takes."""

    __slots__ = ()
    format, block_values, block_bytes = "f16", 1, 2

    @classmethod
    def of(cls, array: np.ndarray) -> F16:
        """A float16 array whose last axis is contiguous, where it lies."""
        return cls(array.view(np.uint8).reshape(*array.shape, 2))

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        out[:] = blocks.view("<f2")
