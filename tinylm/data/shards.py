"""One file of token ids, memory-mapped; a corpus has as many as it needs, numbered.

64 bytes           magic, version, bytes an id, number of the shard, CRC-32 of all that follows, count of ids, count of
                   documents that end here, key of corpus and tokenizer; little-endian
the ids            uint8, uint16 or uint32, the smallest that holds the vocabulary; zeros up to a multiple of 8 bytes
the ends           uint64: how many ids of this shard there are up to the end of each document
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FileFormatError
from ..files import write_atomically

__all__ = ["Shard", "open_shard", "write_shard"]

_HEADER = struct.Struct("<8sIIIIQQ8x16s")  # 64 bytes, so the ids are aligned
_MAGIC, VERSION = b"tinylm\0T", 2
_BLOCK = 1 << 24  # bytes summed at a time
_ENDS = np.dtype("<u8")

Encoded = tuple[np.ndarray, np.ndarray]  # ids, and how many there are up to the end of each document


@dataclass(frozen=True)
class Shard:
    """ids: (N,) unsigned; ends: (D,) uint64; both mapped, read-only."""

    ids: np.ndarray
    ends: np.ndarray


def write_shard(
    path: Path, parts: Iterable[Encoded], dtype: np.dtype, number: int, key: bytes, check: Callable[[], None]
) -> None:
    """Write the parts one after another; `check` may still raise when all are there, and nothing is kept then."""
    write_atomically(path, lambda file: _write(file, parts, dtype, number, key, check))


def _write(
    file: BinaryIO, parts: Iterable[Encoded], dtype: np.dtype, number: int, key: bytes, check: Callable[[], None]
) -> None:
    """The header goes last: it holds what is known only then."""
    file.write(bytes(_HEADER.size))
    count = checksum = 0
    all_ends = [np.zeros(0, _ENDS)]
    for ids, ends in parts:
        small = np.ascontiguousarray(ids, dtype)
        file.write(small.data)
        checksum = zlib.crc32(small.data, checksum)
        all_ends.append(ends.astype(_ENDS) + np.uint64(count))
        count += len(ids)
    ends = np.concatenate(all_ends)
    rest = bytes(_padding(count * dtype.itemsize)) + ends.tobytes()
    file.write(rest)
    checksum = zlib.crc32(rest, checksum)
    check()
    file.seek(0)
    file.write(_HEADER.pack(_MAGIC, VERSION, dtype.itemsize, number, checksum, count, len(ends), key))


def open_shard(path: Path, dtype: np.dtype, number: int, key: bytes, *, verify: bool = True) -> Shard:
    """Map a shard. Raises OSError where it is missing, FileFormatError where it is another or damaged.

    verify: compare the checksum, for which all of it is read. After that the ids may be used as indices without a look:
    the key names the tokenizer.
    """
    with open(path, "rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise FileFormatError(path, "not a token file", 0)
    _, version, itemsize, written_number, checksum, count, documents, written_key = _HEADER.unpack(head)
    if (version, itemsize, written_number, written_key) != (VERSION, dtype.itemsize, number, key):
        raise FileFormatError(path, "made for another version, tokenizer, corpus or place", len(_MAGIC))
    size, n_bytes = path.stat().st_size, count * itemsize
    start = _HEADER.size + n_bytes + _padding(n_bytes)
    if size != start + documents * _ENDS.itemsize:
        raise FileFormatError(path, f"{count:,} ids do not fill its {size:,} bytes: cut short or longer", size)
    mapped = np.memmap(path, np.uint8, "r").view(np.ndarray)
    if verify and _checksum(mapped[_HEADER.size :]) != checksum:
        raise FileFormatError(path, "damaged: the checksum does not match", _HEADER.size)
    return Shard(mapped[_HEADER.size : _HEADER.size + n_bytes].view(dtype), mapped[start:].view(_ENDS))


def _padding(n_bytes: int) -> int:
    return -n_bytes % _ENDS.itemsize


def _checksum(mapped: np.ndarray) -> int:
    checksum = 0
    for first in range(0, len(mapped), _BLOCK):
        checksum = zlib.crc32(mapped[first : first + _BLOCK].data, checksum)
    return checksum
