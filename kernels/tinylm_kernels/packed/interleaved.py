"""Matrices whose rows lie sixteen side by side: what the products read fastest, made once from what a file holds.

A lane of a vector is a row of the matrix, so that a product needs no sum across lanes, and the scales of sixteen rows
are one vector. Sixteen rows of n numbers, a *group*, take the bytes that they take in the file, in another order:

    block     its scales in float16, row after row; its minima likewise, where the format has them; its codes, of four
              numbers side by side of row after row, 64 bytes; of 4-bit codes the low halves are the first half of a
              block, the high ones the second
    row       the same codes, and the scales of whole rows at the end, in float32

The codes are unsigned: 128 is added to signed ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Packed
from .blocks_of_32 import Q4_0, Q4_1, Q8_0
from .rows import INT8

__all__ = ["GROUP", "LAYOUTS", "Interleaved", "Layout"]

GROUP = 16  # rows side by side
LINE = 64


@dataclass(frozen=True)
class Layout:
    """How sixteen rows of a format lie: blocks of so many numbers, bits of a code, what it is shifted by, minima.

    fields: the bytes of a matrix in the order in which they lie side by side, each (O, blocks, bytes).
    """

    source: type[Packed]
    bits: int
    shift: int
    minima: bool
    fields: Callable[[Any], list[np.ndarray]]

    @property
    def name(self) -> str:
        return f"{self.source.format} x {GROUP}"

    @property
    def whole(self) -> bool:
        """Whether a scale belongs to a whole row."""
        return self.source is INT8

    def group_bytes(self, n: int) -> int:
        """What sixteen rows of n numbers take."""
        if self.whole:
            return GROUP * -(-n // 4) * 4 + 4 * GROUP
        return GROUP * (n * self.bits // 8 + n // 32 * (4 if self.minima else 2))


class Interleaved(Packed, numpy_has_it=True):
    """A matrix in groups of sixteen rows, beside the one in a file's order that it was made from.

    source: that one, for single rows; memory: (groups, bytes) uint8, which begins at a whole cache line.
    """

    __slots__ = ("layout", "memory", "source")
    format, block_values, block_bytes = "interleaved", 1, 1

    def __init__(self, source: Packed):
        self.source, self.shape, self.layout = source, source.shape, LAYOUTS[source.format]
        rows, n = source.shape
        groups, size = -(-rows // GROUP), self.layout.group_bytes(n)
        room = np.empty(groups * size + LINE, np.uint8)
        start = -room.ctypes.data % LINE
        self.memory = room[start : start + groups * size].reshape(groups, size)
        step = max(1, (1 << 18) // size)  # groups at a time, whose parts stay in a core's cache
        for first in range(0, groups, step):
            part = source.take_rows(slice(first * GROUP, (first + step) * GROUP))
            _interleave(self.layout, part, self.memory[first : first + step])

    @property
    def dtype(self) -> str:
        return self.layout.name

    @property
    def nbytes(self) -> int:
        return self.source.nbytes

    def take_rows(self, index: Any) -> Packed:  # type: ignore[override] # single rows are not interleaved
        return self.source.take_rows(index)

    def dequantize(self, out: np.ndarray | None = None) -> np.ndarray:
        return self.source.dequantize(out)


def _interleave(layout: Layout, part: Any, memory: np.ndarray) -> None:
    """Write some groups; rows that miss in the last have codes and scales of 0."""
    groups, missing, at = len(memory), len(memory) * GROUP - part.shape[0], 0
    fields = layout.fields(part)
    blocks = memory.reshape(groups, fields[0].shape[1], -1)
    for field in fields:
        if missing:
            field = np.concatenate([field, np.zeros((missing, *field.shape[1:]), field.dtype)])
        field = np.ascontiguousarray(field).view(np.uint16 if field.shape[-1] == 2 else np.uint32)  # numbers stay whole
        size = field.shape[-1] * GROUP * field.itemsize
        to = blocks[..., at : at + size].view(field.dtype).reshape(groups, blocks.shape[1], -1, GROUP)
        to[...] = field.reshape(groups, GROUP, *field.shape[1:]).transpose(0, 2, 3, 1)
        at += size


def _int8_fields(part: INT8) -> list[np.ndarray]:
    codes = part.blocks[..., 0] ^ 0x80
    codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 4)), constant_values=0x80)
    return [codes[:, None], part.scales.view(np.uint8).reshape(-1, 1, 4)]


LAYOUTS = {
    layout.source.format: layout
    for layout in (
        Layout(Q8_0, 8, 7, False, lambda w: [w.blocks[..., :2], w.blocks[..., 2:] ^ 0x80]),
        Layout(Q4_0, 4, 3, False, lambda w: [w.blocks[..., :2], w.blocks[..., 2:]]),
        Layout(Q4_1, 4, 0, True, lambda w: [w.blocks[..., :2], w.blocks[..., 2:4], w.blocks[..., 4:]]),
        Layout(INT8, 8, 7, False, _int8_fields),
    )
}
