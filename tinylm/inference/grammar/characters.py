"""Sets of characters as ranges of code points, and what they are in the bytes of UTF-8."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

__all__ = ["ALL", "ByteTree", "Ranges", "byte_tree", "complement", "matched_by", "union", "without"]

# Ranges of code points, both ends included; sorted, and none touches another.
Ranges = tuple[tuple[int, int], ...]
# How the bytes of a set's characters go on: ranges of the next byte, each with what follows it. () ends a character.
ByteTree = tuple[tuple[int, int, "ByteTree"], ...]

ALL: Ranges = ((0, 0xD7FF), (0xE000, 0x10FFFF))  # surrogates are no characters


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Any ranges as sorted ones that do not touch, without surrogates."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(
        (max(low, first), min(high, last))
        for low, high in merged
        for first, last in ALL
        if max(low, first) <= min(high, last)
    )


def complement(ranges: Ranges) -> Ranges:
    """All characters that are not in the ranges."""
    starts, ends = [0, *(high + 1 for _, high in ranges)], [*(low - 1 for low, _ in ranges), 0x10FFFF]
    return union((low, high) for low, high in zip(starts, ends, strict=True) if low <= high)


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """The characters of the first that are not in the second."""
    return complement(union([*complement(ranges), *others]))


@cache
def matched_by(category: str) -> Ranges:
    r"""The characters that a category of Python's re matches, such as \w."""
    characters = "".join(chr(code) for low, high in ALL for code in range(low, high + 1))
    runs = [found.group() for found in re.finditer(f"(?:{category})+", characters)]
    return union(piece for run in runs for piece in _pieces(ord(run[0]), ord(run[-1])))


def _pieces(low: int, high: int) -> list[tuple[int, int]]:
    return [(max(low, first), min(high, last)) for first, last in ALL if max(low, first) <= min(high, last)]


@cache
def byte_tree(ranges: Ranges) -> ByteTree:
    """The bytes of all characters in the ranges. Equal branches are one object, so that the whole is small.

    Source: F. Yergeau 2003, RFC 3629, section 3: a first byte says how many follow, 6 bits each.
    """
    branches: list[tuple[int, int, ByteTree]] = []
    for first, last, lead, following in ((0, 0x7F, 0, 0), (0x80, 0x7FF, 0xC0, 1), (0x800, 0xFFFF, 0xE0, 2),
                                         (0x10000, 0x10FFFF, 0xF0, 3)):  # fmt: skip
        inside = [(max(low, first), min(high, last)) for low, high in ranges if low <= last and high >= first]
        branches += _split(tuple(inside), lead, following)
    return tuple(branches)


@cache
def _split(ranges: Ranges, lead: int, following: int) -> ByteTree:
    """By the next byte, `lead` and its bits; after it, `following` bytes of 6 bits each."""
    size = 64**following
    branches: list[tuple[int, int, ByteTree]] = []
    inside: dict[int, list[tuple[int, int]]] = {}
    for low, high in ranges:
        for block in range(low // size, high // size + 1):
            start = block * size
            inside.setdefault(block, []).append((max(low, start) - start, min(high, start + size - 1) - start))
    for block, parts in inside.items():
        tree = _split(tuple(parts), 0x80, following - 1) if following else ()
        if branches and branches[-1][1] == lead + block - 1 and branches[-1][2] == tree:
            branches[-1] = (branches[-1][0], lead + block, tree)
        else:
            branches.append((lead + block, lead + block, tree))
    return tuple(branches)
