"""What all packed arrays share: their shape, their blocks, and the way back to float32."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

__all__ = ["PACKED", "Packed", "halves"]

# The classes by the names of their formats, but for what NumPy has a dtype for.
PACKED: dict[str, type[Packed]] = {}

# Values that are unpacked or packed at once: with what is computed on the way they stay in a core's cache.
AT_ONCE = 1 << 16


class Packed:
    """Numbers in blocks: each `block_values` of them along the last axis take `block_bytes` bytes.

    blocks: uint8, (..., values along the last axis / block_values, block_bytes); often a view of a mapped file.
    shape: that of the numbers. Raises ValueError where the blocks are none of this format.
    """

    __slots__ = ("blocks", "shape")

    format: ClassVar[str]
    block_values: ClassVar[int]
    block_bytes: ClassVar[int]

    def __init_subclass__(cls, *, numpy_has_it: bool = False) -> None:
        if not numpy_has_it:
            PACKED[cls.format] = cls

    def __init__(self, blocks: np.ndarray):
        if blocks.dtype != np.uint8 or blocks.ndim < 2 or blocks.shape[-1] != self.block_bytes:
            raise ValueError(
                f"{self.format}: expected blocks of {self.block_bytes} uint8, received {blocks.dtype} {blocks.shape}"
            )
        self.blocks = blocks
        self.shape = (*blocks.shape[:-2], blocks.shape[-2] * self.block_values)

    @classmethod
    def from_bytes(cls, raw: np.ndarray, shape: tuple[int, ...]) -> Self:
        """The numbers of a shape whose blocks lie row by row in `raw`, flat uint8; not copied."""
        if not shape or shape[-1] % cls.block_values:
            raise ValueError(f"{cls.format}: {shape} does not divide into rows of blocks of {cls.block_values}")
        return cls(raw.reshape(*shape[:-1], shape[-1] // cls.block_values, cls.block_bytes))

    @classmethod
    def quantize(cls, array: np.ndarray) -> Self:
        """The array, float of any shape whose last axis divides into blocks, as its nearest in this format.

        Raises ValueError for another shape and for a number that is not finite or too large, TypeError where this
        format is only read.
        """
        if not array.shape or array.shape[-1] % cls.block_values:
            raise ValueError(f"{cls.format}: {array.shape} does not divide into rows of blocks of {cls.block_values}")
        rows = np.ascontiguousarray(array, np.float32).reshape(-1, cls.block_values)
        blocks = np.empty((len(rows), cls.block_bytes), np.uint8)
        with np.errstate(all="ignore"):  # what is not finite is refused right after
            for part in _parts(len(rows), cls.block_values):
                if not np.isfinite(rows[part]).all():
                    raise ValueError(f"{cls.format}: the array holds NaN or infinity")
                cls._pack(rows[part], blocks[part])
        return cls.from_bytes(blocks.reshape(-1), array.shape)

    def dequantize(self, out: np.ndarray | None = None) -> np.ndarray:
        """The numbers in float32, exactly as the format defines them. out: a contiguous array for them."""
        result = np.empty(self.shape, np.float32) if out is None else out
        if result.shape != self.shape or result.dtype != np.float32 or not result.flags.c_contiguous:
            raise ValueError(f"{self.format}: out must be contiguous float32 of shape {self.shape}")
        blocks = self.blocks.reshape(-1, self.block_bytes)
        values = result.reshape(-1, self.block_values)
        with np.errstate(all="ignore"):  # NaN and infinity in, NaN and infinity out
            for part in _parts(len(blocks), self.block_values):
                self._unpack(blocks[part], values[part])
        return result

    def take_rows(self, index: Any) -> Self:
        """The rows of the first axis that the index names, packed as they are: (R, ...) to (len(index), ...)."""
        return type(self)(self.blocks[index])

    @property
    def dtype(self) -> str:
        """The name of the format: what the registry chooses an implementation by."""
        return self.format

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """What the blocks take."""
        return self.blocks.nbytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, {self.nbytes:,} bytes)"

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        """blocks (N, block_bytes) to out (N, block_values) float32."""
        raise TypeError(f"{cls.format} defines no _unpack")

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        """values (N, block_values) float32, all finite, to out (N, block_bytes)."""
        readable = ", ".join(name for name, kind in PACKED.items() if "_pack" in vars(kind))
        raise TypeError(f"{cls.format} is read and not written; written are {readable}")


def halves(field: np.ndarray) -> np.ndarray:
    """The float16 numbers in bytes (N, 2 k), as float32 (N, k)."""
    return field.view("<f2").astype(np.float32)


def _parts(blocks: int, block_values: int) -> list[slice]:
    step = max(1, AT_ONCE // block_values)
    return [slice(start, start + step) for start in range(0, blocks, step)]
