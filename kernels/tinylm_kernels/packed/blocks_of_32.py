"""The formats with a scale for each 32 values: 4, 5 and 8 bits, symmetric (_0) or with a minimum (_1).

A block begins with its scale d in float16, and its minimum m where it has one. Of 4-bit values, byte i holds
value i in its low half and value i + 16 in its high half; the fifth bits of 32 values are a little-endian word.

Source: ggml, `ggml-common.h` and `ggml-quants.c` (the layouts and the reference quantisation).
"""

from __future__ import annotations

import numpy as np

from .base import Packed, halves

__all__ = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


def _split_nibbles(packed: np.ndarray, out: np.ndarray) -> None:
    """bytes (N, 16) to out (N, 32) of any dtype: the low halves, then the high ones."""
    np.bitwise_and(packed, 15, out=out[:, :16], casting="unsafe")
    np.right_shift(packed, 4, out=out[:, 16:], casting="unsafe")


def _five_bits(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """The fifth bits (N, 4) and the nibbles (N, 16), both bytes, as values (N, 32) uint8."""
    values = np.empty((len(low), 32), np.uint8)
    _split_nibbles(low, values)
    values |= np.unpackbits(high, axis=1, bitorder="little") << 4
    return values


class Q4_0(Packed):
    """d (q - 8), q of 4 bits."""

    __slots__ = ()
    format, block_values, block_bytes = "q4_0", 32, 18

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        _split_nibbles(blocks[:, 2:], out)
        out -= 8
        out *= halves(blocks[:, :2])

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        largest = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
        scale = largest / np.float32(-8)  # the largest becomes the end of the range that reaches further, -8
        q = np.trunc(values * _inverse(scale) + np.float32(8.5)).astype(np.uint8).clip(0, 15)
        _store_scale(cls, scale, out)
        out[:, 2:] = q[:, :16] | q[:, 16:] << 4


class Q4_1(Packed):
    """d q + m, q of 4 bits."""

    __slots__ = ()
    format, block_values, block_bytes = "q4_1", 32, 20

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        _split_nibbles(blocks[:, 4:], out)
        scale = halves(blocks[:, :4])
        out *= scale[:, :1]
        out += scale[:, 1:]


class Q5_0(Packed):
    """d (q - 16), q of 5 bits."""

    __slots__ = ()
    format, block_values, block_bytes = "q5_0", 32, 22

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        out[:] = _five_bits(blocks[:, 2:6], blocks[:, 6:])
        out -= 16
        out *= halves(blocks[:, :2])

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        largest = np.take_along_axis(values, np.abs(values).argmax(axis=1, keepdims=True), axis=1)
        scale = largest / np.float32(-16)
        q = np.trunc(values * _inverse(scale) + np.float32(16.5)).astype(np.uint8).clip(0, 31)
        _store_scale(cls, scale, out)
        out[:, 2:6] = np.packbits(q >> 4, axis=1, bitorder="little")
        out[:, 6:] = (q[:, :16] & 15) | q[:, 16:] << 4


class Q5_1(Packed):
    """d q + m, q of 5 bits."""

    __slots__ = ()
    format, block_values, block_bytes = "q5_1", 32, 24

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        scale = halves(blocks[:, :4])
        np.multiply(_five_bits(blocks[:, 4:8], blocks[:, 8:]), scale[:, :1], out=out)
        out += scale[:, 1:]


class Q8_0(Packed):
    """d q, q a signed byte."""

    __slots__ = ()
    format, block_values, block_bytes = "q8_0", 32, 34

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        np.multiply(blocks[:, 2:].view(np.int8), halves(blocks[:, :2]), out=out)

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
        scaled = values * _inverse(scale)
        whole = np.trunc(scaled)
        whole += np.trunc(2 * (scaled - whole))  # rounds halves away from zero
        _store_scale(cls, scale, out)
        out[:, 2:] = whole.astype(np.int8).view(np.uint8)


def _inverse(scale: np.ndarray) -> np.ndarray:
    """1 / scale, and 0 where a block is all zeros."""
    return np.where(scale == 0, np.float32(0), np.float32(1) / scale)


def _store_scale(kind: type[Packed], scale: np.ndarray, out: np.ndarray) -> None:
    half = scale.astype("<f2")
    if not np.isfinite(half).all():
        raise ValueError(f"{kind.format}: a number is too large for the block's float16 scale")
    out[:, :2] = half.view(np.uint8)
