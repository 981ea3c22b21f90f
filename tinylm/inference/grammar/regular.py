"""Python's regular expressions as trees, by the parser of Python's own `re`: the same syntax, the same meaning."""

from __future__ import annotations

import re
import re._parser as parser  # type: ignore[import-not-found]
from typing import Any

from tinylm.errors import TinylmError

from .characters import Ranges, complement, matched_by, union
from .nodes import Characters, Choice, Node, Repeat, Sequence_

__all__ = ["anchored", "parse_items", "parse_regex"]

CATEGORIES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s",
              "CATEGORY_NOT_SPACE": r"\S", "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W"}  # fmt: skip
BEGINNINGS, ENDS = ("AT_BEGINNING", "AT_BEGINNING_STRING"), ("AT_END", "AT_END_STRING")


def parse_regex(pattern: str) -> Node:
    r"""The tree of an expression that a whole text has to match, as by re.fullmatch.

    Characters, classes, groups, alternatives and repetitions, greedy or not; ^ at the beginning and $ at the end change
    nothing. Raises TinylmError for what is no expression, for what looks around (\b, (?=...), ^ within), refers back,
    or is possessive, and for flags.
    """
    return parse_items(anchored(pattern)[1], pattern)


def anchored(pattern: str) -> tuple[bool, list[Any], bool]:
    """The parsed expression without ^ at its beginning and $ at its end, and whether they were there."""
    try:
        parsed = parser.parse(pattern)
    except re.error as error:
        raise TinylmError(f"the regular expression {pattern!r:.80} is malformed: {error}") from None
    except RecursionError:
        raise TinylmError(f"the regular expression {pattern!r:.80} is nested too deeply") from None
    if parsed.state.flags & ~re.UNICODE.value:
        raise TinylmError(f"the regular expression {pattern!r:.80} has flags, which are not supported")
    items = list(parsed)
    begins = bool(items) and _is_at(items[0], BEGINNINGS)
    items = items[begins:]
    ends = bool(items) and _is_at(items[-1], ENDS)
    return begins, items[: len(items) - ends], ends


def _is_at(item: Any, places: tuple[str, ...]) -> bool:
    return str(item[0]) == "AT" and str(item[1]) in places


def parse_items(items: Any, pattern: str) -> Node:
    """The tree of parsed items, without anchors."""
    parts = []
    for operation, argument in items:
        convert = OPERATIONS.get(str(operation))
        if convert is None:
            raise TinylmError(f"the regular expression {pattern!r:.80} uses {operation}, which is not supported")
        parts.append(convert(argument, pattern))
    return parts[0] if len(parts) == 1 else Sequence_(tuple(parts))


def _class(items: Any, pattern: str) -> Node:
    ranges: list[tuple[int, int]] = []
    for operation, argument in items:
        if str(operation) == "RANGE":
            ranges.append(argument)
        elif str(operation) == "CATEGORY":
            ranges += matched_by(CATEGORIES[str(argument)])
        elif str(operation) == "LITERAL":
            ranges.append((argument, argument))
    negated = any(str(operation) == "NEGATE" for operation, _ in items)
    return Characters(complement(union(ranges)) if negated else union(ranges))


def _repeat(argument: Any, pattern: str) -> Node:
    least, most, body = argument
    return Repeat(parse_items(body, pattern), int(least), None if most == parser.MAXREPEAT else int(most))


def _subpattern(argument: Any, pattern: str) -> Node:
    _, added, removed, body = argument
    if added or removed:
        raise TinylmError(f"the regular expression {pattern!r:.80} has flags, which are not supported")
    return parse_items(body, pattern)


def _one(code: int) -> Ranges:
    return union([(code, code)])


OPERATIONS = {
    "LITERAL": lambda code, pattern: Characters(_one(code)),
    "NOT_LITERAL": lambda code, pattern: Characters(complement(_one(code))),
    "ANY": lambda _, pattern: Characters(complement(_one(ord("\n")))),
    "IN": _class,
    "BRANCH": lambda argument, pattern: Choice(tuple(parse_items(option, pattern) for option in argument[1])),
    "SUBPATTERN": _subpattern,
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": _repeat,
}
