"""GGUF: metadata by key, then the table of tensors, then their bytes. Opened by memory map.

    4 bytes "GGUF", u32 version, u64 tensors, u64 metadata
    metadata    key, u32 type, value; a string is u64 length and UTF-8, an array u32 type, u64 count and its items
    tensors     name, u32 dimensions, u64 sizes (the last axis first), u32 type, u64 offset into the data
    data        from the next multiple of `general.alignment` (32) on; so does each tensor

Versions 2 and 3 are read, little-endian. The offsets must be those that ggml writes: in the order of the table,
with no hole but the padding and no overlap; nothing may follow the last tensor but its padding.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tinylm_kernels.packed import PACKED

from ..mapped import map_file, other_kind
from ..tensors import StoredArray, StoredTensor, Tensors
from .metadata import Cursor, Metadata
from .types import MAGIC, NUMPY_TENSORS, PACKED_TENSORS, TENSOR_TYPES, UNREAD_TENSORS

__all__ = ["GGUFFile", "aligned", "read_gguf"]

VERSIONS = (2, 3)
ALIGNMENT = 32  # bytes, where the file does not say
MAX_ALIGNMENT = 1 << 16
MAX_TENSORS = 100_000
MAX_KEYS = 100_000
MAX_DIMENSIONS = 4  # ggml's own


@dataclass(frozen=True)
class GGUFFile:
    """An opened file: its metadata and its tensors, both read when they are asked for."""

    path: Path
    metadata: Metadata
    tensors: Tensors


@dataclass(frozen=True)
class _Entry:
    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int  # bytes from the start of the data
    size: int  # bytes
    position: int  # of the entry, for messages


def read_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open a file; nothing of its tensors is read. The file must stay as it is while the arrays live.

    Raises FileFormatError naming the byte and the reason for whatever is malformed, another version or byte order,
    or of a type that is not read here.
    """
    file = Path(path)
    cursor = Cursor(file, map_file(file, "GGUF"))
    tensor_count, key_count = _start(cursor)
    metadata = Metadata.read(cursor, key_count)
    entries = [_entry(cursor) for _ in range(tensor_count)]
    data_start = _check_layout(cursor, entries, _alignment(cursor, metadata))
    data = np.frombuffer(cursor.buffer, np.uint8)
    stored: dict[str, StoredTensor] = {}
    for entry in entries:
        if entry.name in stored:
            raise cursor.error(f"the tensor {entry.name!r:.80} appears twice", entry.position)
        begin = data_start + entry.offset
        make = partial(_array, data[begin : begin + entry.size], entry)
        stored[entry.name] = StoredTensor(entry.shape, TENSOR_TYPES[entry.kind], make)
    return GGUFFile(file, metadata, Tensors(stored))


def _start(cursor: Cursor) -> tuple[int, int]:
    """The counts of tensors and keys, from a start that is one of a version we read."""
    buffer = cursor.buffer
    if buffer[:4] != MAGIC:
        raise cursor.error(other_kind(buffer[:32]) or "not a GGUF file: it does not begin with 'GGUF'")
    cursor.skip(4)
    version = cursor.u32()
    if version not in VERSIONS:
        big_endian = version and version & 0xFFFF == 0
        reason = "is big-endian" if big_endian else f"is version {version} of GGUF; 2 and 3 are read"
        raise cursor.error(f"{reason}: convert it with llama.cpp", 4)
    counts = cursor.u64(), cursor.u64()
    for what, count, cap, place in (
        ("tensors", counts[0], MAX_TENSORS, 8),
        ("metadata", counts[1], MAX_KEYS, 16),
    ):
        if count > cap:
            raise cursor.error(f"{count:,} {what}, over the cap of {cap:,}", place)
    return counts


def _entry(cursor: Cursor) -> _Entry:
    position = cursor.position
    name = cursor.name("a tensor's name")
    dimensions = cursor.u32()
    if dimensions > MAX_DIMENSIONS:
        raise cursor.error(f"tensor {name!r:.80}: {dimensions} dimensions, expected at most {MAX_DIMENSIONS}", position)
    shape = tuple(cursor.u64() for _ in range(dimensions))[::-1]
    kind, offset = cursor.u32(), cursor.u64()
    return _Entry(name, shape, kind, offset, _size(cursor, name, shape, kind, position), position)


def _size(cursor: Cursor, name: str, shape: tuple[int, ...], kind: int, position: int) -> int:
    """The bytes of a tensor."""
    if kind in NUMPY_TENSORS:
        return math.prod(shape) * NUMPY_TENSORS[kind].itemsize
    if kind not in PACKED_TENSORS:
        what = UNREAD_TENSORS.get(kind, f"type {kind}, which does not exist")
        read = ", ".join(["F32, F16", *(each.upper() for each in PACKED_TENSORS.values())])
        raise cursor.error(f"tensor {name!r:.80} is {what}; what is read: {read}", position)
    packed = PACKED[PACKED_TENSORS[kind]]
    if not shape or shape[-1] % packed.block_values:
        reason = f"its rows do not divide into blocks of {packed.block_values}: {packed.format.upper()} of {shape}"
        raise cursor.error(f"tensor {name!r:.80}: {reason}", position)
    return math.prod(shape) // packed.block_values * packed.block_bytes


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    value = metadata.get("general.alignment", ALIGNMENT)
    if type(value) is not int or not 0 < value <= MAX_ALIGNMENT or value & (value - 1):
        where = metadata.position("general.alignment")
        raise cursor.error(
            f"general.alignment is {value!r:.40}; expected a power of two up to {MAX_ALIGNMENT:,}", where
        )
    return value


def _check_layout(cursor: Cursor, entries: list[_Entry], alignment: int) -> int:
    """Where the data begin. Every tensor must lie where the ones before it end, and the last end the file."""
    data_start = aligned(cursor.position, alignment)
    offset = end = 0
    for entry in entries:
        if entry.offset != offset:
            reason = f"offset {entry.offset:,}, expected {offset:,}: where the tensor before it ends"
            raise cursor.error(f"tensor {entry.name!r:.80}: {reason}", entry.position)
        end = offset + entry.size
        offset = aligned(end, alignment)
    size = len(cursor.buffer)
    if entries and data_start + end > size:
        raise cursor.error(f"cut short: {data_start + end:,} bytes expected, {size:,} found", size)
    if size > data_start + offset:
        raise cursor.error(f"longer than its header says: {data_start + offset:,} bytes expected, {size:,} found", size)
    return data_start


def aligned(position: int, alignment: int) -> int:
    """The first multiple of the alignment from a position on."""
    return -(-position // alignment) * alignment


def _array(raw: np.ndarray, entry: _Entry) -> StoredArray:
    if entry.kind in PACKED_TENSORS:
        return PACKED[PACKED_TENSORS[entry.kind]].from_bytes(raw, entry.shape)
    array = raw.view(NUMPY_TENSORS[entry.kind]).reshape(entry.shape)
    if not array.flags.aligned:  # a file may choose an alignment of less than an item
        array = array.copy()
    array.flags.writeable = False
    return array
