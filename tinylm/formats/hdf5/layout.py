"""Where the parts of an HDF5 file lie: object headers, the names in a group, texts outside of their object.

Only what the library writes unless told otherwise (version 0 of the superblock, version 1 of object headers and of
B-trees) is read. Every address is checked, and no block is visited twice, so that the time is bounded by the file's
size, whatever it says; one wrong byte can send the HDF5 library itself into an endless loop.
Source: The HDF Group, HDF5 File Format Specification, version 3.0.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinylm.errors import FileFormatError

__all__ = ["NOWHERE", "Block", "File", "Message"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
NOWHERE = 2**64 - 1  # the address of what is not in the file
MAX_NAMES, MAX_TEXT = 100_000, 4096

# Kinds of messages in an object header.
DATASPACE, DATATYPE, EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE, CONTINUATION, GROUP = 1, 3, 7, 8, 11, 12, 16, 17


@dataclass(frozen=True)
class Block:
    """Some bytes of a file, from `start` on; reading beyond their end is an error that names the byte."""

    raw: memoryview
    path: str
    start: int
    size: int

    def unpack(self, layout: str, offset: int = 0) -> tuple[Any, ...]:
        """Numbers, little-endian, by struct's letters."""
        self.check(offset, struct.calcsize("<" + layout))
        return struct.unpack_from("<" + layout, self.raw, self.start + offset)

    def part(self, offset: int, size: int | None = None) -> Block:
        """The block within it from an offset on, to its end where no size is given."""
        size = self.size - offset if size is None else size
        self.check(offset, size)
        return Block(self.raw, self.path, self.start + offset, size)

    def bytes(self) -> bytes:
        """All of them."""
        return bytes(self.raw[self.start : self.start + self.size])

    def text(self, offset: int) -> str:
        """The text that begins there and ends with a zero byte."""
        end = self.part(offset, min(self.size - offset, MAX_TEXT)).bytes().find(b"\0")
        if end < 0:
            raise self.wrong("a name without an end", offset)
        try:
            return self.part(offset, end).bytes().decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("a name that is no UTF-8", offset) from None

    def check(self, offset: int, size: int) -> None:
        """Raise FileFormatError unless these bytes are inside."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise self.wrong(f"{size:,} bytes at {offset:,} of a block of {self.size:,}", offset)

    def wrong(self, reason: str, offset: int = 0) -> FileFormatError:
        """The error that something here is not as it should be."""
        return FileFormatError(self.path, f"malformed HDF5: {reason}", self.start + offset)


@dataclass(frozen=True)
class Message:
    """A part of an object header."""

    kind: int
    flags: int
    data: Block


class File:
    """A whole file. root: the address of the header of the group that everything is in."""

    def __init__(self, raw: memoryview, path: str | os.PathLike[str]):
        self.whole = whole = Block(raw, str(path), 0, len(raw))
        self._heaps: dict[int, dict[int, Block]] = {}
        if raw[: len(SIGNATURE)] != SIGNATURE:
            raise FileFormatError(path, "is no HDF5 file", 0)
        version, offsets, lengths = whole.unpack("B4xBB", 8)
        if version != 0 or (offsets, lengths) != (8, 8):
            raise whole.wrong(
                f"version {version} of the superblock, addresses of {offsets} bytes; supported is version 0 with 8, "
                "which h5py writes unless told otherwise (libver='earliest')",
                8,
            )
        base, _, _, driver, _, self.root = whole.unpack("QQQQQQ", 24)
        if base or driver != NOWHERE:
            raise whole.wrong("it begins elsewhere, or is one of several files", 24)

    def at(self, address: int, size: int | None = None, magic: bytes = b"") -> Block:
        """The block at an address, which must begin with `magic`."""
        if not 0 < address < self.whole.size:
            raise self.whole.wrong(f"the address {address:,} lies outside of the file")
        block = self.whole.part(address, size)
        if self.whole.raw[address : address + len(magic)] != magic:
            raise block.wrong(f"expected {magic.decode()} there")
        return block

    # Objects

    def messages(self, address: int) -> list[Message]:
        """The messages of the object whose header is at this address."""
        header = self.at(address)
        version, count, size = header.unpack("BxH4xI")
        if version != 1:
            raise header.wrong(f"an object header of version {version}; supported is 1")
        found: list[Message] = []
        blocks, seen = [header.part(16, size)], {address + 16}
        while blocks:
            block, offset = blocks.pop(0), 0
            while offset + 8 <= block.size and len(found) < count:
                kind, length, flags = block.unpack("HHB", offset)
                data = block.part(offset + 8, length)
                found.append(Message(kind, flags, data))
                offset += 8 + length
                if kind == CONTINUATION:
                    start, length = data.unpack("QQ")
                    if start in seen:
                        raise data.wrong("an object header that goes on where it began")
                    seen.add(start)
                    blocks.append(self.at(start, length))
        return found

    # Groups

    def names(self, message: Message) -> dict[str, int]:
        """The objects of a group, by name, as addresses of their headers."""
        tree, heap = message.data.unpack("QQ")
        size, _, start = self.at(heap, magic=b"HEAP").unpack("QQQ", 8)
        texts, found = self.at(start, size), dict[str, int]()
        for leaf in self._leaves(tree):
            (count,) = leaf.unpack("6xH")
            for entry in range(count):
                name, address, cached = leaf.unpack("QQI", 8 + 40 * entry)
                if cached == 2:
                    raise leaf.wrong("a symbolic link; only objects of the file itself are read", 8 + 40 * entry)
                text = texts.text(name)
                if text in found or len(found) >= MAX_NAMES:
                    raise leaf.wrong(f"the name {text!r:.80} is there twice, or more than {MAX_NAMES:,} are")
                found[text] = address
        return found

    def _leaves(self, root: int) -> Iterator[Block]:
        waiting: list[tuple[int, int | None]] = [(root, None)]
        seen = set[int]()
        while waiting:
            address, level = waiting.pop(0)
            if address in seen:
                raise self.at(address).wrong("a group that contains a part of itself")
            seen.add(address)
            if level == 0:
                yield self.at(address, magic=b"SNOD")
                continue
            node = self.at(address, magic=b"TREE")
            kind, height, used = node.unpack("4xBBH")
            if kind != 0 or (level is not None and height != level - 1):
                raise node.wrong(f"a node of kind {kind} and level {height} of the tree of a group's names")
            waiting += [(node.unpack("Q", 32 + 16 * child)[0], height) for child in range(used)]

    # Texts that lie outside of their object

    def heap_object(self, address: int, index: int) -> Block:
        """An object of a global heap."""
        if address not in self._heaps:
            (size,) = self.at(address, magic=b"GCOL").unpack("Q", 8)
            heap, offset, objects = self.at(address, size), 16, dict[int, Block]()
            while offset + 16 <= size:
                number, length = heap.unpack("H6xQ", offset)
                if number == 0:  # what is free
                    break
                objects[number] = heap.part(offset + 16, length)
                offset += 16 + (length + 7) // 8 * 8
            self._heaps[address] = objects
        if index not in self._heaps[address]:
            raise self.at(address).wrong(f"there is no object {index} in this heap")
        return self._heaps[address][index]
