"""Regular expressions as trees, whoever wrote them: Python's re, or a JSON schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .characters import Ranges, union

__all__ = ["EMPTY", "Characters", "Choice", "Node", "Repeat", "Sequence_", "literal", "optional", "sequence"]


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Sequence_:
    """One after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """Any one of them; none, and nothing fits."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """The same `least` to `most` times; None for no bound."""

    body: Node
    least: int
    most: int | None


Node = Characters | Sequence_ | Choice | Repeat
EMPTY = Sequence_(())


def literal(text: str) -> Node:
    """This text."""
    return Sequence_(tuple(Characters(union([(ord(character),) * 2])) for character in text))


def sequence(parts: Sequence[Node | str]) -> Node:
    """One after the other, texts as they are."""
    return Sequence_(tuple(literal(part) if isinstance(part, str) else part for part in parts))


def optional(body: Node) -> Node:
    """Once or not at all."""
    return Repeat(body, 0, 1)
