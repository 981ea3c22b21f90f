"""The k-formats: super-blocks of 256 values, whose sub-blocks have scales that are numbers of 6 or 8 bits themselves.

Q4_K and Q5_K: eight sub-blocks of 32 values, each (d scale) q - (dmin minimum). Q6_K: sixteen of 16 values, each
(d scale) (q - 32). d and dmin are float16, one each for the super-block.

Source: ggml, `ggml-common.h` and `ggml-quants.c`.
"""

from __future__ import annotations

import numpy as np

from .base import Packed, halves

__all__ = ["Q4_K", "Q5_K", "Q6_K"]


def _fields(packed: np.ndarray, groups: int, bits: int) -> np.ndarray:
    """bytes (N, groups * width) as fields of so many bits, (N, groups, 8 / bits, width) uint8: the lowest first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = packed.reshape(len(packed), groups, 1, -1) >> shifts[:, None]
    fields &= (1 << bits) - 1
    return fields


def _scales_and_minima(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d scale and dmin minimum of the eight sub-blocks, both (N, 8, 1) float32, from the head of Q4_K and Q5_K.

    Its twelve bytes are three rows of four: six bits of the first four scales, of the first four minima, and the
    low halves of the last four of both, whose upper two bits are the upper two of the rows above.
    """
    first, second, third = (blocks[:, start : start + 4] for start in (4, 8, 12))
    scales = np.concatenate([first & 63, (third & 15) | (first >> 2 & 48)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 2 & 48)], axis=1)
    d = halves(blocks[:, :4])
    return (d[:, :1] * scales)[..., None], (d[:, 1:] * minima)[..., None]


def _scale(values: np.ndarray, blocks: np.ndarray, out: np.ndarray) -> None:
    """Write scale times value minus minimum, of values (N, 8, 32)."""
    scales, minima = _scales_and_minima(blocks)
    grouped = out.reshape(-1, 8, 32)
    np.multiply(values, scales, out=grouped)
    grouped -= minima


class Q4_K(Packed):
    """4 bits: d, dmin, scales (12 bytes), values (128)."""

    __slots__ = ()
    format, block_values, block_bytes = "q4_k", 256, 144

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        _scale(_fields(blocks[:, 16:], 4, 4).reshape(-1, 8, 32), blocks, out)


class Q5_K(Packed):
    """5 bits: d, dmin, scales (12 bytes), fifth bits (32: bit s of a byte is of sub-block s), the other four (128)."""

    __slots__ = ()
    format, block_values, block_bytes = "q5_k", 256, 176

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        values = _fields(blocks[:, 48:], 4, 4).reshape(-1, 8, 32)
        values |= _fields(blocks[:, 16:48], 1, 1).reshape(-1, 8, 32) << 4
        _scale(values, blocks, out)


class Q6_K(Packed):
    """6 bits: the low four (128 bytes), the upper two (64), scales (16 signed bytes), d."""

    __slots__ = ()
    format, block_values, block_bytes = "q6_k", 256, 210

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        scales = halves(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8)  # (N, 16)
        values = _fields(blocks[:, :128], 2, 4).reshape(-1, 256)
        values |= _fields(blocks[:, 128:192], 2, 2).reshape(-1, 256) << 4
        out[:] = values
        out -= 32
        grouped = out.reshape(-1, 16, 16)
        grouped *= scales[..., None]
