"""The k-formats: super-blocks of 256 values, whose sub-blocks have scales that are numbers of 6 or 8 bits themselves.

Q4_K and Q5_K: eight sub-blocks of 32 values, each (d scale) q - (dmin minimum). Q6_K: sixteen of 16 values, each
(d scale) (q - 32). d and dmin are float16, one each for the super-block.

Source: ggml, `ggml-common.h` and `ggml-quants.c`.
"""

from __future__ import annotations

import numpy as np

from .base import Packed, halves

__all__ = ["Q4_K", "Q5_K", "Q6_K"]

# The scales to begin a fit with, as parts of the one whose codes reach both ends of the values.
BEGINNINGS = tuple(np.float32(part) for part in np.linspace(0.7, 1.05, 8))


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


def _fitted(values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales and minima (N, 8) such that scale code - minimum with codes from 0 to `most` is near values (N, 8, 32).

    A scale fixes the codes, and codes the best scale and minimum, by least squares; of some scales to begin with the
    best result is taken.
    """
    lowest = np.minimum(values.min(axis=-1, keepdims=True), 0)
    widest = (values.max(axis=-1, keepdims=True) - lowest) / most
    best, found = np.full(lowest.shape, np.inf, np.float32), [np.zeros_like(lowest), np.zeros_like(lowest)]
    for part in BEGINNINGS:
        with np.errstate(all="ignore"):
            codes = np.nan_to_num(np.rint((values - lowest) / (part * widest))).clip(0, most)
        scale, minimum = _least_squares(codes, values)
        error = np.square(scale * codes - minimum - values).sum(axis=-1, keepdims=True)
        better = error < best
        best = np.where(better, error, best)
        found = [np.where(better, new, old) for new, old in zip((scale, minimum), found, strict=True)]
    return found[0][..., 0], found[1][..., 0]


def _least_squares(codes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scale and the minimum, neither below 0, with which scale code - minimum is nearest to the values."""
    n = codes.shape[-1]
    sums = [each.sum(axis=-1, keepdims=True) for each in (codes, codes * codes, values, codes * values)]
    c, cc, v, cv = sums
    with np.errstate(all="ignore"):
        determinant = n * cc - c * c
        scale, minimum = (n * cv - c * v) / determinant, (c * cv - cc * v) / determinant
        alone = cv / cc  # of a minimum that is 0
    below = ~(minimum >= 0)
    return np.nan_to_num(np.where(below, alone, scale)).clip(0), np.where(below, 0, np.nan_to_num(minimum))


def _store_in_six_bits(out: np.ndarray, values: np.ndarray, which: int) -> np.ndarray:
    """Write eight scales (0) or minima (1), (N, 8), as the head of Q4_K and Q5_K has them; returns what they became."""
    unit = (values.max(axis=1, keepdims=True) / np.float32(63)).astype("<f2")
    if not np.isfinite(unit).all():
        raise ValueError("q4_k: a number is too large for the block's float16 scale")
    out[:, 2 * which : 2 * which + 2] = unit.view(np.uint8)
    step = unit.astype(np.float32)
    with np.errstate(all="ignore"):
        whole = np.where(step > 0, np.rint(values / step), 0).clip(0, 63).astype(np.uint8)
    first, last = whole[:, :4], whole[:, 4:]
    out[:, 4 + 4 * which : 8 + 4 * which] = first | (last >> 4) << 6
    low = (last & 15) << 4 * which
    out[:, 12:16] = low if which == 0 else out[:, 12:16] | low
    return (step * whole)[..., None]


class Q4_K(Packed):
    """4 bits: d, dmin, scales (12 bytes), values (128)."""

    __slots__ = ()
    format, block_values, block_bytes = "q4_k", 256, 144

    @classmethod
    def _unpack(cls, blocks: np.ndarray, out: np.ndarray) -> None:
        _scale(_fields(blocks[:, 16:], 4, 4).reshape(-1, 8, 32), blocks, out)

    @classmethod
    def _pack(cls, values: np.ndarray, out: np.ndarray) -> None:
        grouped = values.reshape(-1, 8, 32)
        scales, minima = _fitted(grouped, 15)
        scale, minimum = (_store_in_six_bits(out, *each) for each in ((scales, 0), (minima, 1)))
        with np.errstate(all="ignore"):
            codes = np.rint((grouped + minimum) / scale)
        codes = np.where(scale > 0, codes, 0).clip(0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
        out[:, 16:] = (codes[:, :, 0] | codes[:, :, 1] << 4).reshape(len(out), -1)


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
