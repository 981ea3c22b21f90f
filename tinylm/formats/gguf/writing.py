"""Writing GGUF, version 3: the layout is in `reading`.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from ...errors import TinylmError
from ...files import write_atomically
from ..tensors import StoredArray, StoredTensor, plain_bytes, unmade
from .reading import ALIGNMENT, MAX_DIMENSIONS, MAX_KEYS, MAX_TENSORS, aligned
from .types import ARRAY, BOOL, MAGIC, NUMBERS, STRING, TENSOR_TYPES

__all__ = ["write_gguf"]

VERSION = 3
MAX_TENSOR_NAME = 63  # bytes, ggml's own

_NUMBER_TYPES = {np.dtype(code): number for number, code in NUMBERS.items() if number != BOOL} | {np.dtype(bool): BOOL}
_TENSOR_NUMBERS = {name: number for number, name in TENSOR_TYPES.items()}


def write_gguf(path: str | os.PathLike[str], metadata: Mapping[str, Any], tensors: Mapping[str, StoredArray]) -> None:
    """Write a file, atomically and durably (`tinylm.files`).

    metadata: bools, texts, floats (as float32), whole numbers (as uint32 where they fit, else as what they fit),
    NumPy's numbers and arrays of one axis in their own type, and lists of one kind of these. tensors: float16, float32,
    float64, integers or packed; of `Tensors` each is made when its turn comes. Raises TinylmError for what the format
    cannot hold, OSError where the disk fails.
    """
    stored = {name: _checked(name, value) for name, value in unmade(tensors).items()}
    if len(stored) > MAX_TENSORS or len(metadata) > MAX_KEYS:
        raise TinylmError(f"write_gguf: {len(stored):,} tensors and {len(metadata):,} keys: too many")
    head = [MAGIC, struct.pack("<IQQ", VERSION, len(stored), len(metadata))]
    head += [_string(key) + _typed(key, value) for key, value in metadata.items()]
    offset = 0
    for name, tensor in stored.items():
        head.append(_string(name) + struct.pack("<I", len(tensor.shape)))
        head.append(struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape[::-1], _TENSOR_NUMBERS[tensor.dtype], offset))
        offset += aligned(tensor.nbytes, ALIGNMENT)

    def write(file: BinaryIO) -> None:
        _write_padded(file, b"".join(head))
        for tensor in stored.values():
            _write_padded(file, plain_bytes(tensor.make()))

    write_atomically(path, write)


def _checked(name: str, value: StoredArray | StoredTensor) -> StoredTensor:
    tensor = value if isinstance(value, StoredTensor) else StoredTensor.of(value)
    if not 0 < len(name.encode()) <= MAX_TENSOR_NAME:
        raise TinylmError(f"write_gguf: {name!r} cannot name a tensor; expected 1 to {MAX_TENSOR_NAME} bytes")
    if tensor.dtype not in _TENSOR_NUMBERS:
        raise TinylmError(
            f"write_gguf: tensor {name!r} is {tensor.dtype}; expected one of {', '.join(_TENSOR_NUMBERS)}"
        )
    if len(tensor.shape) > MAX_DIMENSIONS:
        raise TinylmError(
            f"write_gguf: tensor {name!r} has {len(tensor.shape)} axes, expected {MAX_DIMENSIONS} at most"
        )
    return tensor


def _write_padded(file: BinaryIO, content: bytes | memoryview) -> None:
    file.write(content)
    file.write(bytes(-len(content) % ALIGNMENT))


def _string(text: str) -> bytes:
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TinylmError(f"write_gguf: {error.object[error.start]!r} is a lone surrogate") from None
    return struct.pack("<Q", len(raw)) + raw


def _typed(key: str, value: Any) -> bytes:
    """The type of a value, and the value."""
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    if isinstance(value, (list, tuple)):
        return _list(key, value)
    array = _as_numbers(key, value)
    number = struct.pack("<I", _NUMBER_TYPES[array.dtype])
    if array.ndim == 0:
        return number + array.tobytes()
    return struct.pack("<I", ARRAY) + number + struct.pack("<Q", array.size) + array.tobytes()


def _list(key: str, values: Sequence[Any]) -> bytes:
    if not values or isinstance(values[0], str):
        items = [_string(_one_kind(key, value, str)) for value in values]
        return struct.pack("<IIQ", ARRAY, STRING, len(items)) + b"".join(items)
    if isinstance(values[0], (list, tuple, np.ndarray)):
        items = [_typed(key, _one_kind(key, value, (list, tuple, np.ndarray)))[4:] for value in values]
        return struct.pack("<IIQ", ARRAY, ARRAY, len(items)) + b"".join(items)
    return _typed(key, np.array([_as_numbers(key, value) for value in values]))


def _one_kind(key: str, value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TinylmError(f"write_gguf: {key}: a list of one kind expected, received {value!r:.60} in it as well")
    return value


def _as_numbers(key: str, value: Any) -> np.ndarray:
    """The value as an array of a dtype that the format has."""
    array = np.asarray(value)
    if type(value) is int:
        array = np.asarray(value, np.min_scalar_type(value))
        if array.dtype.itemsize < 4:
            array = array.astype(np.int32 if value < 0 else np.uint32)
    elif type(value) is float:
        array = array.astype(np.float32)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype not in _NUMBER_TYPES or array.ndim > 1:
        raise TinylmError(f"write_gguf: {key} is {value!r:.60}; expected a bool, a number, a text or a list of them")
    return array
