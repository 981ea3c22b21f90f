"""Whole rows of bytes with one scale each: the product with rounded rows needs nothing but integers until its end."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .base import AT_ONCE, Packed

__all__ = ["INT8"]

MOST = 127


class INT8(Packed, numpy_has_it=True):
    """scale q, q a signed byte; the scale of a row is its largest magnitude / 127.

    blocks: (O, I, 1) uint8, the codes; scales: (O,) float32. Raises ValueError for other shapes.
    """

    __slots__ = ("scales",)
    format, block_values, block_bytes = "int8", 1, 1

    def __init__(self, blocks: np.ndarray, scales: np.ndarray):
        super().__init__(blocks)
        if len(self.shape) != 2 or scales.shape != self.shape[:1] or scales.dtype != np.float32:
            raise ValueError(
                f"int8: expected a matrix and a float32 scale for each row, received {self.shape} and "
                f"{scales.dtype} {scales.shape}"
            )
        self.scales = scales

    @classmethod
    def quantize(cls, array: np.ndarray) -> Self:
        """The matrix (O, I), its rows rounded to the nearest of 255 multiples of their scales.

        Raises ValueError for another shape and for a number that is not finite.
        """
        if array.ndim != 2 or not array.size:
            raise ValueError(f"int8: expected a matrix, received {array.shape}")
        codes, scales = np.empty(array.shape, np.int8), np.empty(len(array), np.float32)
        step = max(1, AT_ONCE // array.shape[1])
        for first in range(0, len(array), step):
            rows = np.asarray(array[first : first + step], np.float32)
            peak = np.abs(rows).max(axis=1)
            if not np.isfinite(peak).all():
                raise ValueError("int8: the array holds NaN or infinity")
            scales[first : first + step] = peak / np.float32(MOST)
            inverse = np.divide(np.float32(MOST), peak, out=np.zeros_like(peak), where=peak != 0)
            np.rint(rows * inverse[:, None], out=codes[first : first + step], casting="unsafe")
        return cls(codes.view(np.uint8)[..., None], scales)

    def dequantize(self, out: np.ndarray | None = None) -> np.ndarray:
        """The numbers in float32. out: a contiguous array for them."""
        return np.multiply(self.blocks[..., 0].view(np.int8), self.scales[:, None], out=out, dtype=np.float32)

    def take_rows(self, index: Any) -> Self:
        """The rows that the index names, packed as they are."""
        return type(self)(self.blocks[index], self.scales[index])

    @property
    def nbytes(self) -> int:
        """What codes and scales take."""
        return self.blocks.nbytes + self.scales.nbytes
