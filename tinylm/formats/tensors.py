"""The tensors of a file by name, each made when it is asked for: opening a file reads its header alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tinylm_kernels.packed import Packed

__all__ = ["StoredArray", "StoredTensor", "Tensors", "plain_bytes", "unmade"]

# A tensor as a file holds it: in a dtype of NumPy's, or packed.
StoredArray = np.ndarray | Packed


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that can be made.

    dtype: the name of NumPy's ("float32") or of a packed format ("q4_0").
    """

    shape: tuple[int, ...]
    dtype: str
    make: Callable[[], StoredArray]

    @classmethod
    def of(cls, array: StoredArray) -> StoredTensor:
        """One that is there."""
        return cls(tuple(array.shape), array.format if isinstance(array, Packed) else array.dtype.name, lambda: array)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class Tensors(Mapping[str, np.ndarray]):
    """`tensors[name]` is an array: a read-only view of the file where NumPy has the type, else unpacked to float32.

    Unpacking takes its time and memory each time it is asked for. `stored(name)` tells shape and type without it.
    """

    def __init__(self, stored: Mapping[str, StoredTensor]):
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._stored[name].make()
        if isinstance(array, Packed):
            array = array.dequantize()
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
