"""bfloat16: the upper half of a float32."""

from __future__ import annotations

import numpy as np

from .base import Packed

__all__ = ["BF16"]


class BF16(Packed):
    """Sign, 8 bits of exponent, 7 of fraction, little-endian; every one is a float32."""

    __slots__ = ()
    format, block_values, block_bytes = "bf16", 1, 2

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        np.left_shift(blocks.view("<u2"), 16, out=out.view(np.uint32), dtype=np.uint32)

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        bits = values.view(np.uint32)
        nearest = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16  # halves to the even one
        if (nearest & 0x7F80 == 0x7F80).any():
            raise ValueError("bf16: a number is too large")
        out[:] = nearest.astype("<u2").view(np.uint8).reshape(out.shape)
