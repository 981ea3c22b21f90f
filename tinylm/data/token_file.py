"""A corpus as token ids in one flat file, memory-mapped and made once.

64 bytes           magic, version, bytes per id, count of ids, CRC-32 of the ids, key; little-endian
the rest           the ids: uint8, uint16 or uint32, the smallest that holds the vocabulary
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import FileFormatError, TinylmError
from ..files import cache_folder, write_atomically
from ..text import Tokenizer
from .corpora import Corpus

__all__ = ["TokenFile", "TokenSplit", "tokenize_corpus"]

_HEADER = struct.Struct("<8sIIQI20x16s")  # 64 bytes, so the ids are aligned
_MAGIC, _VERSION = b"tinylm\0T", 1
_BLOCK = 1 << 22  # ids looked at together, where a whole file may not fit into memory
MAX_IN_MEMORY = 64 << 20  # bytes of ids that are kept in memory where the cache cannot be written


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """A stretch of tokens. ids: (N,) unsigned, read-only; byte_lengths: (V,) UTF-8 bytes of each token."""

    ids: np.ndarray
    byte_lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def n_bytes(self) -> int:
        """The UTF-8 bytes of all the tokens, exactly."""
        return self.count_bytes()

    def count_bytes(self, start: int = 0, stop: int | None = None) -> int:
        """The UTF-8 bytes of tokens start..stop-1: what bits per byte divide their loss by."""
        ids = self.ids[start:stop]
        vocab_size = len(self.byte_lengths)
        blocks = (ids[first : first + _BLOCK] for first in range(0, len(ids), _BLOCK))
        return sum(int(np.bincount(block, minlength=vocab_size) @ self.byte_lengths) for block in blocks)


class TokenFile(TokenSplit):
    """All the tokens of a corpus, in a file or in memory."""

    def split(self, validation_fraction: float = 0.1) -> tuple[TokenSplit, TokenSplit]:
        """(train, validation): the validation tokens are the last floor(fraction * N), in one piece."""
        if not 0 <= validation_fraction < 1:
            raise TinylmError(f"validation_fraction must be at least 0 and below 1, received {validation_fraction}")
        cut = len(self) - math.floor(len(self) * validation_fraction)
        return TokenSplit(self.ids[:cut], self.byte_lengths), TokenSplit(self.ids[cut:], self.byte_lengths)


def tokenize_corpus(corpus: Corpus, tokenizer: Tokenizer, cache: Path | None = None) -> TokenFile:
    """The tokens of a corpus: from the cache, or made in bounded memory and kept there.

    cache: a folder, made where it is missing; None is `cache_folder()`/tokens. A file there goes by the
    content of the corpus and the tokenizer, so a change in either makes another; a damaged one is made anew.
    Where the cache cannot be written, up to 64 MiB of ids stay in memory, with a RuntimeWarning; more is a
    TinylmError. Raises TinylmError for text that the tokenizer cannot express.
    """
    folder = cache_folder() / "tokens" if cache is None else Path(cache)
    key = _key(corpus, tokenizer)
    path = folder / f"{key.hex()}.tokens"
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1).newbyteorder("<")
    try:
        return _open(path, tokenizer, dtype, key)
    except (OSError, FileFormatError):
        pass  # not there yet, or damaged
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: _write(file, _encoded(corpus, tokenizer, dtype), dtype, key))
        return _open(path, tokenizer, dtype, key)
    except OSError as error:
        return _in_memory(corpus, tokenizer, dtype, error)


def _open(path: Path, tokenizer: Tokenizer, dtype: np.dtype, key: bytes) -> TokenFile:
    """Map a token file and check it whole. Raises OSError where it is missing, FileFormatError where damaged.

    The ids may be used as indices without a look: the checksum, and the key that names the tokenizer, have
    been compared.
    """
    with open(path, "rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(_MAGIC):
        raise FileFormatError(path, "not a token file", 0)
    _, version, itemsize, count, checksum, written_key = _HEADER.unpack(head)
    if (version, itemsize, written_key) != (_VERSION, dtype.itemsize, key):
        raise FileFormatError(path, "made for another version, tokenizer or corpus", len(_MAGIC))
    size = path.stat().st_size
    if count == 0 or size != _HEADER.size + count * itemsize:
        raise FileFormatError(path, f"{count:,} ids do not fill its {size:,} bytes: cut short or longer", size)
    ids = np.asarray(np.memmap(path, dtype, "r", _HEADER.size, (count,)))
    if _checksum(ids) != checksum:
        raise FileFormatError(path, "damaged: the checksum of the ids does not match", _HEADER.size)
    return TokenFile(ids, tokenizer.byte_lengths())


def _key(corpus: Corpus, tokenizer: Tokenizer) -> bytes:
    parts = [_VERSION, corpus.fingerprint(), tokenizer.to_json()]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode("utf-8"), digest_size=16).digest()


def _encoded(corpus: Corpus, tokenizer: Tokenizer, dtype: np.dtype) -> Iterator[np.ndarray]:
    return (ids.astype(dtype) for ids in tokenizer.encode_chunks(corpus.chunks()))


def _write(file: BinaryIO, pieces: Iterator[np.ndarray], dtype: np.dtype, key: bytes) -> None:
    """The header goes last: it holds what is known only then."""
    file.write(bytes(_HEADER.size))
    count = checksum = 0
    for ids in pieces:
        file.write(ids.data)
        count, checksum = count + len(ids), zlib.crc32(ids.data, checksum)
    file.seek(0)
    file.write(_HEADER.pack(_MAGIC, _VERSION, dtype.itemsize, count, checksum, key))


def _checksum(ids: np.ndarray) -> int:
    checksum = 0
    for first in range(0, len(ids), _BLOCK):
        checksum = zlib.crc32(ids[first : first + _BLOCK].data, checksum)
    return checksum


def _in_memory(corpus: Corpus, tokenizer: Tokenizer, dtype: np.dtype, error: OSError) -> TokenFile:
    pieces, size = [], 0
    for ids in _encoded(corpus, tokenizer, dtype):
        pieces.append(ids)
        size += ids.nbytes
        if size > MAX_IN_MEMORY:
            raise TinylmError(
                f"the tokens of {corpus.name} cannot be cached ({error}) and are too many to keep in memory; "
                "free some space, or choose another cache folder"
            ) from error
    message = f"the tokens of {corpus.name} cannot be cached ({error}); they are made again in each run"
    warnings.warn(message, RuntimeWarning, stacklevel=3)
    ids = np.concatenate(pieces)
    ids.flags.writeable = False
    return TokenFile(ids, tokenizer.byte_lengths())
