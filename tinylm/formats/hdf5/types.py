"""Types and shapes of HDF5, as NumPy has them. Source: HDF5 File Format Specification, IV.A.2.b and d."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .layout import Block, File

__all__ = ["Text", "parse_shape", "parse_type"]

INTEGER, FLOAT, STRING, VARIABLE = 0, 1, 3, 9
MAX_AXES, MAX_SIZE = 32, 2**31

# IEEE's floats by their size: places and sizes of exponent and mantissa in bits, and the exponent's bias.
IEEE = {2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023)}


@dataclass(frozen=True)
class Text:
    """Texts of `size` bytes each, filled up with zeros or blanks; or of any length, which lie elsewhere in the file."""

    size: int
    anywhere: bool

    def read(self, file: File, values: Block, count: int) -> list[str]:
        """So many texts. All together they are no longer than the file."""
        found, total = [], 0
        for number in range(count):
            value = values.part(number * self.size, self.size)
            raw = self._far(file, value) if self.anywhere else value.bytes()
            total += len(raw)
            if total > file.whole.size:
                raise value.wrong("texts that are longer than the file")
            try:
                found.append(raw.rstrip(b"\0").decode("utf-8"))
            except UnicodeDecodeError:
                raise value.wrong("a text that is no UTF-8") from None
        return found

    def _far(self, file: File, value: Block) -> bytes:
        length, address, index = value.unpack("IQI")
        return file.heap_object(address, index).part(0, length).bytes() if length else b""


def parse_type(data: Block) -> np.dtype | Text | None:
    """A dtype of NumPy's, or texts; None for any other type."""
    first, bits, second, size = data.unpack("BBBxI")
    version, kind = first >> 4, first & 15
    order = ">" if bits & 1 else "<"
    if version not in (1, 2, 3) or size == 0:
        raise data.wrong(f"a type of version {version} and {size} bytes")
    if kind == INTEGER and size in (1, 2, 4, 8):
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}") if data.unpack("HH", 8) == (0, 8 * size) else None
    if kind == FLOAT and size in IEEE:
        whole, place = data.unpack("HH", 8) == (0, 8 * size), data.unpack("BBBBI", 12)
        is_ieee = whole and place == IEEE[size] and bits & 64 == 0 and second == 8 * size - 1
        return np.dtype(f"{order}f{size}") if is_ieee else None
    if kind == STRING:
        return Text(size, anywhere=False)
    if kind == VARIABLE and bits & 15 == 1 and size == 16:
        return Text(size, anywhere=True)
    return None


def parse_shape(data: Block) -> tuple[int, ...]:
    """The axes of a data set or an attribute; () for one value."""
    version, axes, _, kind = data.unpack("BBBB")
    if version not in (1, 2) or axes > MAX_AXES or (version == 2 and kind == 2):
        raise data.wrong(f"a shape of version {version} with {axes} axes, or none")
    shape = data.unpack("Q" * axes, 8 if version == 1 else 4)
    if any(size >= MAX_SIZE for size in shape):
        raise data.wrong(f"a shape of {shape}")
    return shape
