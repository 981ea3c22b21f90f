"""The tensors of a file by name, each made when it is asked for: opening a file reads its header alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinylm_kernels.packed import INT8, PACKED, Packed

from ..errors import TinylmError

__all__ = [
    "BYTE_ROWS",
    "FORMATS",
    "StoredArray",
    "StoredTensor",
    "Tensors",
    "as_dtype",
    "plain_bytes",
    "unmade",
    "unpacked",
]

# What a packed tensor may be, by name; "int8" is NumPy's.
BYTE_ROWS = "int8_rows"
FORMATS: dict[str, type[Packed]] = {**PACKED, BYTE_ROWS: INT8}

# A tensor as a file holds it: in a dtype of NumPy's, or packed.
StoredArray = np.ndarray | Packed


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that can be made.

    dtype: the name of NumPy's ("float32") or of a packed format ("q4_0"). make_transposed: makes its transpose, where
    that is what the file holds.
    """

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], StoredArray]
    make_transposed: Callable[[], StoredArray] | None = None

    @classmethod
    def of(cls, array: StoredArray) -> StoredTensor:
        """One that is there."""
        return cls(tuple(array.shape), array.format if isinstance(array, Packed) else array.dtype.name, lambda: array)

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """What a file needs for it."""
        if self.dtype in FORMATS:
            packed = FORMATS[self.dtype]
            return self.size // packed.block_values * packed.block_bytes
        return self.size * np.dtype(self.dtype).itemsize


class Tensors(Mapping[str, np.ndarray]):
    """`tensors[name]` is an array: a read-only view of the file where NumPy has the type, else unpacked to float32.

    Unpacking takes its time and memory each time it is asked for. `stored(name)` tells shape and type without it.
    """

    def __init__(self, stored: Mapping[str, StoredTensor]):
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        array = unpacked(self._stored[name].make())
        array.flags.writeable = False
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def stored(self, name: str) -> StoredTensor:
        """The tensor as the file holds it; `make` gives it packed."""
        return self._stored[name]


def unmade(tensors: Mapping[str, StoredArray]) -> Mapping[str, StoredTensor | StoredArray]:
    """The same by name, but of `Tensors` what is not made yet."""
    return {name: tensors.stored(name) for name in tensors} if isinstance(tensors, Tensors) else tensors


def plain_bytes(array: StoredArray) -> memoryview:
    """The bytes of an array of any stride and byte order as files hold them: row by row, little-endian."""
    if isinstance(array, Packed):
        array = array.blocks
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def as_dtype(name: str, tensor: StoredTensor, dtype: str) -> StoredTensor:
    """The tensor in another floating dtype of NumPy's or packed format; the same where it has that already.

    When it is made, raises TinylmError, which names it, for a number that is too large for the new type.
    """
    return (
        tensor if tensor.dtype == dtype else StoredTensor(tensor.shape, dtype, partial(_converted, name, tensor, dtype))
    )


def _converted(name: str, tensor: StoredTensor, dtype: str) -> StoredArray:
    values = unpacked(tensor.make())
    if dtype in FORMATS:
        try:
            return FORMATS[dtype].quantize(values)
        except ValueError as error:
            raise TinylmError(f"the tensor {name!r} cannot become {dtype}: {error}") from None
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if np.isinf(converted).any() and not np.isinf(values).any():
        raise TinylmError(f"the tensor {name!r} cannot become {dtype}: a number is too large")
    return converted


def unpacked(array: StoredArray) -> np.ndarray:
    """The array in a dtype of NumPy's."""
    return array.dequantize() if isinstance(array, Packed) else array
