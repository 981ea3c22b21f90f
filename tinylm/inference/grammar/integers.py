"""Whole numbers between two bounds, as regular expressions."""

from __future__ import annotations

from .characters import union
from .nodes import EMPTY, Characters, Choice, Node, Repeat, literal, sequence

__all__ = ["integers_between"]


def integers_between(low: int | None, high: int | None) -> Node:
    """The numbers from low to high, both included, without a zero before others; None for no bound."""
    options: list[Node] = []
    if high is None or high >= 0:
        options.append(_natural(max(0, low or 0), high))
    if low is None or low < 0:
        least = 1 if high is None else max(1, -high)
        options.append(sequence(["-", _natural(least, None if low is None else -low)]))
    return Choice(tuple(options))


def _natural(low: int, high: int | None) -> Node:
    """Numbers from 0 on, by how many digits they have."""
    longest = len(str(low)) if high is None else len(str(high))
    options = []
    for digits in range(len(str(low)), longest + 1):
        least, most = (10 ** (digits - 1) if digits > 1 else 0), 10**digits - 1
        first, last = max(low, least), most if high is None else min(high, most)
        if first <= last:
            options.append(_of_one_length(str(first), str(last)))
    if high is None:
        options.append(sequence([_digits("1", "9"), Repeat(_digits("0", "9"), longest, None)]))
    return Choice(tuple(options))


def _of_one_length(first: str, last: str) -> Node:
    """The numbers from first to last, which have as many digits."""
    if not first:
        return EMPTY
    rest, size = "0" * len(first[1:]), len(first) - 1
    nines = "9" * size
    if first[0] == last[0]:
        return sequence([literal(first[0]), _of_one_length(first[1:], last[1:])])
    options = []
    low, high = int(first[0]), int(last[0])
    if first[1:] != rest:
        options.append(sequence([first[0], _of_one_length(first[1:], nines)]))
        low += 1
    if last[1:] != nines:
        options.append(sequence([last[0], _of_one_length(rest, last[1:])]))
        high -= 1
    if low <= high:
        options.append(sequence([_digits(str(low), str(high)), Repeat(_digits("0", "9"), size, size)]))
    return Choice(tuple(options))


def _digits(first: str, last: str) -> Node:
    return Characters(union([(ord(first), ord(last))]))
