"""safetensors: a header of JSON, then the bytes of the tensors. Opened by memory map, written durably.

    8 bytes            N, the length of the header: unsigned, little-endian
    N bytes            {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
                        "__metadata__": {"key": "value", ...}}, padded with spaces
    the rest           the tensors, little-endian, row by row, with no hole and no overlap

The reader accepts nothing that the `safetensors` wheel refuses. Beyond the wheel, it refuses: a name twice;
a field of a tensor that the format does not have; a tensor written as a list; `null` metadata; a header that
does not begin with "{"; more than 100,000 tensors, 2 million JSON values, 64 dimensions or 2^63 - 1 bytes
(where an empty tensor's zeros count as ones); a number of more than 4,300 digits or beyond float64 anywhere;
a BOOL that is neither 0 nor 1; the 8-, 6- and 4-bit floats, which NumPy lacks.

Source: https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinylm_kernels.packed import BF16

from ..errors import FileFormatError, TinylmError
from ..files import parse_json, write_atomically
from .mapped import map_file, other_kind
from .tensors import StoredArray, StoredTensor, Tensors, plain_bytes, unmade

__all__ = ["read_metadata", "read_safetensors", "write_safetensors"]

MAX_HEADER = 100_000_000  # bytes, the wheel's own cap
MAX_TENSORS = 100_000  # the largest public models hold about 50,000
MAX_DIMENSIONS = 64  # NumPy's own

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8", "BF16": "<u2",
}  # fmt: skip
_NAMES = {"bf16": "BF16", **{np.dtype(code).name: name for name, code in _DTYPES.items() if name != "BF16"}}


@dataclass(frozen=True)
class _Entry:
    dtype: str  # the format's name
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the data
    end: int


@dataclass(frozen=True)
class _Header:
    tensors: dict[str, _Entry]
    metadata: dict[str, str]
    data_start: int  # bytes from the start of the file


def read_safetensors(path: str | os.PathLike[str]) -> Tensors:
    """The tensors of a file by name, in the order of its header: read-only views of a memory map.

    Nothing is read before it is used. Copied instead are BF16, which NumPy lacks and which widens exactly to
    float32 each time it is asked for, and a tensor that the file does not align to its item. F16 stays float16. The
    file must stay as it is while the arrays live (replacing it by rename is fine). Raises FileFormatError.
    """
    file = Path(path)
    buffer = map_file(file, "safetensors")
    header = _parse(file, buffer)
    data = np.frombuffer(buffer, np.uint8)[header.data_start :]
    stored = {}
    for name, entry in header.tensors.items():
        raw = data[entry.begin : entry.end]
        if entry.dtype == "BOOL" and raw.size and raw.max() > 1:
            where = header.data_start + entry.begin + int(np.argmax(raw > 1))
            raise FileFormatError(file, f"tensor {name!r:.80}: a BOOL that is neither 0 nor 1", where)
        dtype = "bf16" if entry.dtype == "BF16" else np.dtype(_DTYPES[entry.dtype]).name
        stored[name] = StoredTensor(entry.shape, dtype, partial(_array, raw, entry))
    return Tensors(stored)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The file's own notes (`__metadata__`), {} where it has none. Raises FileFormatError, as the reader."""
    file = Path(path)
    return _parse(file, map_file(file, "safetensors")).metadata


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, StoredArray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays of any shape, stride and byte order, atomically and durably (`tinylm.files`).

    tensors: by name; bool, integers, float16/32/64, complex64, or BF16 packed; of `Tensors` each is made when its turn
    comes. Stored with the widest items first, then by name, so that every tensor is aligned and equal contents give
    equal files. metadata: text by text. Raises TinylmError for what the format cannot hold, OSError where the disk
    fails.
    """
    stored = {name: _checked(name, value) for name, value in unmade(tensors).items()}
    stored = dict(sorted(stored.items(), key=lambda item: (-_itemsize(item[1]), item[0])))
    head = _header_bytes(stored, metadata)

    def write(file: BinaryIO) -> None:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        for tensor in stored.values():
            file.write(plain_bytes(tensor.make()))

    write_atomically(path, write)


def _parse(file: Path, buffer: bytes | mmap.mmap) -> _Header:
    """Check everything a header says before anything is built from it."""
    length = int.from_bytes(buffer[:8], "little")
    if buffer[8:9] != b"{":
        reason = other_kind(buffer[:32]) or "not a safetensors file: its header must begin with '{' at byte 8"
        raise FileFormatError(file, reason, 0)
    if length > MAX_HEADER:
        raise FileFormatError(file, f"a header of {length:,} bytes, over the cap of {MAX_HEADER:,}", 0)
    if length > len(buffer) - 8:
        reason = f"cut short: a header of {length:,} bytes in a file of {len(buffer):,}"
        raise FileFormatError(file, reason, len(buffer))
    raw = buffer[8 : 8 + length]
    fields = parse_json(raw, file, start=8, max_values=20 * MAX_TENSORS)
    if len(fields) > MAX_TENSORS:
        raise FileFormatError(file, f"{len(fields):,} tensors, over the cap of {MAX_TENSORS:,}", 8)
    metadata = _strings(file, fields.pop("__metadata__", {}))
    entries = {name: _entry(file, name, value) for name, value in fields.items()}
    _check_layout(file, entries, 8 + length, len(buffer))
    return _Header(entries, metadata, 8 + length)


def _strings(file: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise FileFormatError(file, "__metadata__ must be an object of strings", 8)
    return value


def _entry(file: Path, name: str, value: Any) -> _Entry:
    def refuse(reason: str) -> FileFormatError:
        return FileFormatError(file, f"tensor {name!r:.80}: {reason}", 8)

    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise refuse("must have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise refuse(f"dtype {dtype!r:.40} is not one of {', '.join(_DTYPES)}")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise refuse(f"shape {shape!r:.80} must be at most {MAX_DIMENSIONS} whole numbers")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        raise refuse(f"data_offsets {offsets!r:.80} must be two whole numbers")
    itemsize = np.dtype(_DTYPES[dtype]).itemsize
    if math.prod(max(size, 1) for size in shape) * itemsize > 2**63 - 1:
        raise refuse(f"shape {shape!r:.80} is too large")
    if math.prod(shape) * itemsize != offsets[1] - offsets[0]:
        raise refuse(f"shape {shape!r:.80} of {dtype} does not fill data_offsets {offsets!r:.80}")
    return _Entry(dtype, tuple(shape), *offsets)


def _whole_numbers(value: Any) -> bool:
    """type(), not isinstance(): True is an int to Python, and 1.0 equals 1."""
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_layout(file: Path, entries: dict[str, _Entry], data_start: int, size: int) -> None:
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            problem = "overlaps another" if entry.begin < position else "leaves a hole before it"
            raise FileFormatError(file, f"tensor {name!r:.80} {problem}", data_start + position)
        position = entry.end
    if data_start + position != size:
        kind = "cut short" if data_start + position > size else "longer than its header says"
        raise FileFormatError(file, f"{kind}: {data_start + position:,} bytes expected, {size:,} found", size)


def _array(raw: np.ndarray, entry: _Entry) -> StoredArray:
    if entry.dtype == "BF16":
        packed = BF16(raw.reshape(-1, 2)) if not entry.shape else BF16(raw.reshape(*entry.shape, 2))
        return packed if entry.shape else packed.dequantize().reshape(())
    array = raw.view(_DTYPES[entry.dtype]).reshape(entry.shape)
    if not array.flags.aligned:
        array = array.copy()
    array.flags.writeable = False
    return array


def _checked(name: str, value: Any) -> StoredTensor:
    if not isinstance(name, str) or name == "__metadata__":
        raise TinylmError(f"write_safetensors: {name!r} cannot name a tensor")
    tensor = StoredTensor.of(value) if isinstance(value, (np.ndarray, BF16)) else value
    if not isinstance(tensor, StoredTensor) or tensor.dtype not in _NAMES:
        raise TinylmError(
            f"write_safetensors: tensor {name!r} is {getattr(value, 'dtype', type(value).__name__)}; expected a NumPy "
            "array of bool, integers, float16, float32, float64 or complex64, or BF16: convert it first"
        )
    return tensor


def _itemsize(tensor: StoredTensor) -> int:
    return np.dtype(_DTYPES[_NAMES[tensor.dtype]]).itemsize


def _header_bytes(stored: Mapping[str, StoredTensor], metadata: Mapping[str, str] | None) -> bytes:
    fields: dict[str, Any] = {}
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise TinylmError("write_safetensors: metadata must map strings to strings")
        fields["__metadata__"] = dict(metadata)
    position = 0
    for name, tensor in stored.items():
        end = position + tensor.nbytes
        fields[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    try:
        head = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise TinylmError(f"write_safetensors: {error.object[error.start]!r} is a lone surrogate") from None
    head += b" " * (-len(head) % 8)
    if len(stored) > MAX_TENSORS or len(head) > MAX_HEADER:
        raise TinylmError(f"write_safetensors: {len(stored):,} tensors, {len(head):,} header bytes: too many")
    return head
