"""Groups, data sets and attributes of an HDF5 file. Source: HDF5 File Format Specification, version 3.0, IV.A."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..mapped import map_file
from . import layout
from .layout import NOWHERE, Block, File, Message
from .types import Text, parse_shape, parse_type

__all__ = ["Dataset", "Group", "read_hdf5"]


def read_hdf5(path: str | os.PathLike[str], raw: memoryview | None = None) -> Group:
    """The group that all others of a file are in. raw: its bytes, where they are not all of the file at `path`.

    Only what is asked for is read; arrays are views of the memory map. Raises FileFormatError for anything that Keras'
    files do not hold: compressed or scattered data, links, data of other files, types that are no floats or integers.
    """
    file = File(memoryview(map_file(Path(path), "HDF5")) if raw is None else raw, path)
    return Group(file, file.root, "/")


class _Object:
    """What groups and data sets share: a header, and attributes."""

    def __init__(self, file: File, address: int, name: str):
        self._file, self.name = file, name
        self._messages = file.messages(address)
        self._block = file.at(address)

    def _message(self, kind: int) -> Message | None:
        found = [message for message in self._messages if message.kind == kind]
        if len(found) > 1 or (found and found[0].flags & 2):
            raise self._block.wrong(f"{self.name!r:.80} is described twice, or by another object")
        return found[0] if found else None

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Notes by name: texts, numbers, and lists of them. Of those with other types, None."""
        found: dict[str, Any] = {}
        for message in self._messages:
            if message.kind == layout.ATTRIBUTE:
                name, value = _attribute(self._file, message.data)
                if name in found:
                    raise message.data.wrong(f"the attribute {name!r:.80} is there twice")
                found[name] = value
        return found


class Dataset(_Object):
    """An array: `shape`, `dtype`, and `array`, read-only."""

    def __init__(self, file: File, address: int, name: str):
        super().__init__(file, address, name)
        if self._message(layout.FILTERS) or self._message(layout.EXTERNAL):
            raise self._block.wrong(f"{name!r:.80} is compressed, or in another file; write it plain")
        shape, kind = self._message(layout.DATASPACE), self._message(layout.DATATYPE)
        if shape is None or kind is None:
            raise self._block.wrong(f"{name!r:.80} has no shape or no type")
        self.shape, found = parse_shape(shape.data), parse_type(kind.data)
        if not isinstance(found, np.dtype) or found.kind not in "fiu":
            raise kind.data.wrong(f"{name!r:.80} holds no numbers of a known type")
        self.dtype = found

    @property
    def array(self) -> np.ndarray:
        """Its numbers, a view of the file."""
        size = math.prod(self.shape) * self.dtype.itemsize
        data = self._data()
        if data is None:
            if size:
                raise self._block.wrong(f"{self.name!r:.80} was never written")
            return np.zeros(self.shape, self.dtype)
        if data.size != size:
            raise data.wrong(f"{self.name!r:.80} of shape {self.shape} does not fill its {data.size:,} bytes")
        return np.frombuffer(data.raw[data.start : data.start + size], self.dtype).reshape(self.shape)

    def _data(self) -> Block | None:
        place = self._message(layout.LAYOUT)
        version, kind = place.data.unpack("BB") if place else (0, 0)
        if place is None or version != 3 or kind not in (0, 1):
            raise self._block.wrong(f"{self.name!r:.80} does not lie in one piece; write it without chunks")
        if kind == 0:  # within the header
            return place.data.part(4, place.data.unpack("H", 2)[0])
        address, size = place.data.unpack("QQ", 2)
        return None if address == NOWHERE else self._file.at(address, size)


class Group(_Object, Mapping[str, "Group | Dataset"]):
    """Groups and data sets by name; `group["a/b"]` is one within another."""

    @cached_property
    def _addresses(self) -> dict[str, int]:
        message = self._message(layout.GROUP)
        if message is None:
            raise self._block.wrong(f"{self.name!r:.80} is no group")
        return self._file.names(message)

    def __getitem__(self, name: str) -> Group | Dataset:
        first, _, rest = name.partition("/")
        address = self._addresses[first]
        path = f"{self.name.rstrip('/')}/{first}"
        is_group = any(message.kind == layout.GROUP for message in self._file.messages(address))
        if not is_group:
            if rest:
                raise KeyError(name)
            return Dataset(self._file, address, path)
        group = Group(self._file, address, path)
        return group[rest] if rest else group

    def __iter__(self) -> Iterator[str]:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)


def _attribute(file: File, data: Block) -> tuple[str, Any]:
    version, name_size, type_size, shape_size = data.unpack("BxHHH")
    if version not in (1, 2, 3):
        raise data.wrong(f"an attribute of version {version}")
    offset = 9 if version == 3 else 8
    step = 8 if version == 1 else 1  # to which the parts are filled up
    parts = []
    for size in (name_size, type_size, shape_size):
        parts.append(data.part(offset, size))
        offset += -(-size // step) * step
    name, kind, shape = parts[0].text(0), parse_type(parts[1]), parse_shape(parts[2])
    if kind is None:
        return name, None
    size = math.prod(shape)
    values = data.part(offset, size * (kind.size if isinstance(kind, Text) else kind.itemsize))
    if isinstance(kind, Text):
        texts = kind.read(file, values, size)
        return name, texts if shape else texts[0]
    array = np.frombuffer(values.bytes(), kind).reshape(shape)
    return name, array.tolist()
