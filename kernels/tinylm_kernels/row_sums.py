"""Sums over the rows of a matrix: the gradients of weights and biases that all rows share.

Each of a fixed number of parts of the rows has its own sums, added up at the end in their order, so that the result
does not depend on the number of threads.
"""

from __future__ import annotations

from .jit import jit
from .vectors import LANES, read, splat, write

__all__ = ["add_parts", "add_to", "clear", "parts_of"]

# Parts: enough for the cores of a desktop, of enough rows to outweigh their sums.
PARTS, ROWS = 16, 64


def parts_of(rows: int) -> int:
    """How many parts so many rows are cut into."""
    return max(1, min(PARTS, rows // ROWS))


@jit
def clear(sums, n):
    """Make n sums zero, by the address of the first."""
    for j in range(0, n, LANES):
        write(sums + 4 * j, splat(0), n - j)


@jit
def add_to(sums, values, n):
    """Add 16 values, or the first n of them, to the sums at an address."""
    write(sums, read(sums, n) + values, n)


@jit
def add_parts(sums, parts, n):
    """Add the n sums of the parts, one after the other from an address on, to those of the first."""
    for part in range(1, parts):
        for j in range(0, n, LANES):
            add_to(sums + 4 * j, read(sums + 4 * (part * n + j), n - j), n - j)
