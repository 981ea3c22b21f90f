"""The bytes of a file, unpacked on the way where it is a gzip or Zstandard archive.

An archive is read 1 KiB at a time: the largest that this can become is 1 MB from gzip (1032 to 1) and 32 MB from
Zstandard (a block of 128 KiB in 4 bytes), so a decompression bomb passes through bounded memory.
"""

from __future__ import annotations

import codecs
import importlib
import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from ...errors import FileFormatError, TinylmError
from ...extras import import_extra

__all__ = ["ARCHIVES", "OnRead", "codec", "open_binary"]

OnRead = Callable[[int], None]

_BLOCK = 1 << 16  # bytes read from the disk at a time
_SLICE = 1 << 10  # bytes of an archive unpacked at a time
_MAX_WINDOW = 1 << 27  # bytes of Zstandard's window: the default limit of its own tool


def open_binary(path: Path, on_read: OnRead, encoding: str = "utf-8") -> BinaryIO:
    """A binary file to read from front to back; its suffix says whether it is unpacked.

    Reading raises FileFormatError where an archive is damaged or cut short; gzip's checksums are compared, and
    Zstandard's where the archive holds them. on_read: told of each block how many bytes it took from the disk.
    encoding: of the text that it holds, which is given in UTF-8.
    """
    blocks = _blocks(path, on_read)
    if unpacker := ARCHIVES.get(path.suffix.lower()):
        blocks = _unpacked(blocks, path, unpacker())
    if codec(encoding) != "utf-8":
        blocks = _recoded(blocks, path, encoding)
    return cast(BinaryIO, io.BufferedReader(_Stream(blocks), _BLOCK))


def _blocks(path: Path, on_read: OnRead) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            on_read(len(block))
            yield block


def codec(encoding: str) -> str:
    """The name that Python knows an encoding of text by. Raises TinylmError for one that it does not know."""
    try:
        found = codecs.lookup(encoding)
        if not found._is_text_encoding:
            raise LookupError
    except LookupError:
        raise TinylmError(f"unknown encoding {encoding!r}, expected such as utf-8, utf-16, latin-1, gb18030") from None
    return found.name


def _recoded(blocks: Iterator[bytes], path: Path, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    position = 0
    for block in itertools.chain(blocks, [None]):
        try:
            yield decoder.decode(block or b"", final=block is None).encode("utf-8", "surrogatepass")
        except UnicodeError as error:
            reason = f"not {encoding} text ({getattr(error, 'reason', error)}); name its encoding"
            raise FileFormatError(path, reason, position + getattr(error, "start", 0)) from None
        position += len(block or b"")


def _unpacked(blocks: Iterator[bytes], path: Path, new: Callable[[], Any]) -> Iterator[bytes]:
    """The content of one archive after another: both formats are joined by joining files.

    new: makes an object with `decompress(bytes)`, `eof` and `unused_data`, as `zlib` and `compression.zstd` do.
    """
    archive, position = new(), 0
    for block in blocks:
        for first in range(0, len(block), _SLICE):
            packed = block[first : first + _SLICE]
            position += len(packed)
            while packed:
                if archive.eof:
                    packed = packed.lstrip(b"\0")  # padding to a tape's or a disk's block is allowed
                    archive = new() if packed else archive
                    continue
                try:
                    yield archive.decompress(packed)
                except Exception as error:  # zlib.error, ZstdError: each library has its own
                    raise FileFormatError(path, f"a damaged archive: {error}", position) from None
                packed = archive.unused_data if archive.eof else b""
    if not archive.eof:
        raise FileFormatError(path, "an archive that is cut short: the file ends before it does", position)


def _gzip() -> Callable[[], Any]:
    return lambda: zlib.decompressobj(wbits=31)  # 16 for gzip's frame, 15 for the largest window


def _zstandard() -> Callable[[], Any]:
    try:
        return importlib.import_module("compression.zstd").ZstdDecompressor
    except ImportError:  # Python before 3.14
        pass
    zstandard = import_extra("zstandard", "reading .zst")
    return lambda: zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()


ARCHIVES: dict[str, Callable[[], Callable[[], Any]]] = {".gz": _gzip, ".zst": _zstandard}


class _Stream(io.RawIOBase):
    """A raw binary file over an iterator of blocks."""

    def __init__(self, blocks: Iterator[bytes]):
        self._blocks, self._rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._blocks.close()  # type: ignore[attr-defined] # a generator: closes the file it reads
        super().close()
