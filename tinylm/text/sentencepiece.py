"""SentencePiece's own file, spiece.model or tokenizer.model: a protocol buffer.

Source: google/sentencepiece, src/sentencepiece_model.proto; the wire format: protobuf.dev, "Encoding".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError

__all__ = ["read_sentencepiece"]

MAX_BYTES = 1 << 28
KINDS = {1: "t5", 2: "llama"}  # what GGUF calls a Unigram and a BPE
NORMAL = 1

Value = int | bytes


def read_sentencepiece(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file says, as the metadata of a GGUF file would. Raises FileFormatError."""
    file = Path(path)
    if not file.is_file():
        raise FileFormatError(file, "there is no such file")
    if file.stat().st_size > MAX_BYTES:
        raise FileFormatError(file, f"more than {MAX_BYTES:,} bytes: too large for a SentencePiece model")
    raw = file.read_bytes()
    try:
        return _metadata(raw)
    except (ValueError, struct.error, TypeError) as error:
        raise FileFormatError(file, f"no SentencePiece model: {error}") from None


def _metadata(raw: bytes) -> dict[str, Any]:
    tokens, scores, types = [], [], []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    for number, value in _fields(raw):
        if number == 1:
            piece = dict(_fields(_bytes(value)))
            tokens.append(_bytes(piece[1]).decode("utf-8") if 1 in piece else "")
            scores.append(struct.unpack("<f", _bytes(piece[2]))[0] if 2 in piece else 0.0)
            types.append(int(piece.get(3, NORMAL)))
        elif number == 2:
            trainer = dict(_fields(_bytes(value)))
        elif number == 3:
            normalizer = dict(_fields(_bytes(value)))
    kind = trainer.get(3, 1)
    if not tokens or kind not in KINDS:
        raise ValueError(f"{len(tokens)} tokens of type {kind!r:.40}; expected some of a Unigram (1) or a BPE (2)")
    fields: dict[str, Any] = {
        "model": KINDS[int(kind)],
        "tokens": tokens,
        "scores": scores,
        "token_type": types,
        "precompiled_charsmap": list(_bytes(normalizer.get(2, b""))),
        "add_space_prefix": bool(normalizer.get(3, 1)),
        "remove_extra_whitespaces": bool(normalizer.get(4, 1)),
        "byte_fallback": bool(trainer.get(35, 0)),
    }
    for name, number, default in (("unknown", 40, 0), ("bos", 41, 1), ("eos", 42, 2), ("padding", 43, -1)):
        id = _signed(int(trainer.get(number, default)))
        if id >= 0:
            fields[f"{name}_token_id"] = id
    return {f"tokenizer.ggml.{name}": value for name, value in fields.items()}


def _signed(value: int) -> int:
    """A 64-bit number of which the highest bit is a sign."""
    return value - (1 << 64) if value >> 63 else value


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"a number, {value}, where bytes were expected")
    return value


def _fields(raw: bytes) -> Iterator[tuple[int, Value]]:
    """The numbers and values of a message: whole numbers, or the bytes of anything else."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(raw, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if length > len(raw) - at:
            raise ValueError(f"{length} bytes at byte {at}, of which {len(raw) - at} are left")
        yield number, raw[at : at + length]
        at += length


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A whole number of 7 bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise ValueError("the file ends within a number")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError(f"a number of more than 10 bytes before byte {at}")
