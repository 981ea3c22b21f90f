"""The head of a GGUF file: a cursor that never leaves the file, and the metadata, read when they are asked for."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError

from .types import ARRAY, BOOL, NUMBERS, STRING

__all__ = ["Cursor", "Metadata"]

MAX_NAME = 65_535  # bytes, the format's own cap on keys
MAX_DEPTH = 8  # arrays within arrays
# Strings and inner arrays are walked one by one, and 0.1 us each; the largest vocabularies hold about a million.
MAX_ITEMS = 4_000_000

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class Cursor:
    """A place in a file of which every step is checked."""

    def __init__(self, path: Path, buffer: mmap.mmap, position: int = 0):
        self.path, self.buffer, self.position = path, buffer, position
        self.items = 0  # strings and arrays walked within arrays

    def error(self, reason: str, position: int | None = None) -> FileFormatError:
        return FileFormatError(self.path, reason, self.position if position is None else position)

    def skip(self, size: int) -> int:
        """Step over so many bytes; return where they begin."""
        start = self.position
        if size > len(self.buffer) - start:
            raise self.error(f"cut short: {size:,} more bytes expected, {len(self.buffer) - start:,} left")
        self.position = start + size
        return start

    def u32(self) -> int:
        return int(_U32.unpack_from(self.buffer, self.skip(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack_from(self.buffer, self.skip(8))[0])

    def string(self) -> str:
        length = self.u64()
        start = self.skip(length)
        return self._text(start, length)

    def name(self, what: str) -> str:
        """A string that names something: not empty and not too long."""
        start = self.position
        length = self.u64()
        if not 0 < length <= MAX_NAME:
            raise self.error(f"{what} of {length:,} bytes; expected 1 to {MAX_NAME:,}", start)
        return self._text(self.skip(length), length)

    def _text(self, start: int, length: int) -> str:
        try:
            return self.buffer[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("a string is not UTF-8", start + error.start) from None

    def skip_value(self, kind: int, depth: int = 0) -> None:
        """Step over a value of this type."""
        if kind in NUMBERS:
            self.skip(np.dtype(NUMBERS[kind]).itemsize)
        elif kind == STRING:
            self.skip(self.u64())
        elif kind == ARRAY:
            self._skip_array(depth + 1)
        else:
            raise self.error(f"a value of type {kind}, which does not exist")

    def _skip_array(self, depth: int) -> None:
        kind, count = self.u32(), self.u64()
        if depth > MAX_DEPTH:
            raise self.error(f"arrays within arrays, more than {MAX_DEPTH} deep")
        if kind in NUMBERS:
            self.skip(count * np.dtype(NUMBERS[kind]).itemsize)
            return
        self.items += count
        if self.items > MAX_ITEMS:
            raise self.error(f"{self.items:,} strings and arrays, over the cap of {MAX_ITEMS:,}")
        if kind == STRING:
            self._skip_strings(count)
        else:
            for _ in range(count):
                self.skip_value(kind, depth)

    def _skip_strings(self, count: int) -> None:
        """The same as `skip_value` for each, in a third of the time: vocabularies are most of a header."""
        position, buffer, unpack = self.position, self.buffer, _U64.unpack_from
        try:
            for _ in range(count):
                position += 8 + unpack(buffer, position)[0]
        except (struct.error, OverflowError):  # the position lies beyond the end, or beyond what an index can be
            position = len(buffer) + 1
        if position > len(buffer):
            raise self.error(f"cut short: {count:,} strings expected, the file ends before the last")
        self.position = position

    def value(self, kind: int) -> Any:
        """A value of a type that `skip_value` has been over: a number, a bool, a string, or for an array of numbers
        a NumPy array, of others a list."""
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, count = self.u32(), self.u64()
            return self._numbers(inner, count) if inner in NUMBERS else [self.value(inner) for _ in range(count)]
        return self._numbers(kind, 1).tolist()[0]

    def _numbers(self, kind: int, count: int) -> np.ndarray:
        dtype = np.dtype(NUMBERS[kind])
        start = self.skip(count * dtype.itemsize)
        numbers = np.frombuffer(self.buffer, dtype, count, start)
        if kind == BOOL:
            if (numbers > 1).any():
                raise self.error("a bool that is neither 0 nor 1", start + int(np.argmax(numbers > 1)))
            return numbers.astype(bool)
        return numbers


class Metadata(Mapping[str, Any]):
    """The values of a file by key, each read when it is asked for: numbers, bools, texts, arrays of NumPy's, lists."""

    def __init__(self, path: Path, buffer: mmap.mmap, places: dict[str, tuple[int, int]]):
        self._path, self._buffer, self._places = path, buffer, places  # key: (type, position)

    @classmethod
    def read(cls, cursor: Cursor, count: int) -> Metadata:
        """Walk over so many pairs of key and value, which end where the cursor is then."""
        places: dict[str, tuple[int, int]] = {}
        for _ in range(count):
            start = cursor.position
            key = cursor.name("a key")
            if key in places:
                raise cursor.error(f"the key {key!r:.80} appears twice", start)
            kind = cursor.u32()
            places[key] = kind, cursor.position
            cursor.skip_value(kind)
        return cls(cursor.path, cursor.buffer, places)

    def __getitem__(self, key: str) -> Any:
        kind, position = self._places[key]
        return Cursor(self._path, self._buffer, position).value(kind)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def position(self, key: str) -> int:
        """The byte at which a value begins, for messages."""
        return self._places[key][1]
