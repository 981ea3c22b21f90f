"""JSON schemas as trees of regular expressions: the JSON texts that a schema allows, as far as they are regular."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tinylm.errors import TinylmError

from .characters import ALL, Ranges, union, without
from .integers import integers_between
from .nodes import EMPTY, Characters, Choice, Node, Repeat, Sequence_, literal, optional, sequence
from .regular import anchored, parse_items, parse_regex

__all__ = ["parse_json_schema"]

# What says something about a schema to people, and nothing about values.
ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
               "$schema", "$id", "$comment", "$defs", "definitions"}  # fmt: skip
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set(),
    "boolean": set(),
    "null": set(),
}
# Characters that stand in a JSON string only after a backslash.
ESCAPED: Ranges = union([(0, 0x1F), (ord('"'), ord('"')), (ord("\\"), ord("\\"))])
SHORT = {ord('"'): '\\"', ord("\\"): "\\\\", 8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r"}
NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
DEEPEST = 100


def parse_json_schema(schema: Any) -> Node:
    """The tree of all JSON texts that a schema allows, with at most one space after each colon and comma.

    Supported: type (one or several) with properties, required and additionalProperties; items, minItems and maxItems;
    minLength, maxLength or pattern; bounds of integers; enum, const, anyOf, and $ref to $defs or definitions that do
    not contain themselves. Objects have the properties that are named, in that order, and no others. Raises TinylmError
    for everything else, naming it and where it stands.
    """
    return _Schema(schema).node(schema, "#", ())


class _Schema:
    def __init__(self, root: Any):
        self._root = root

    def node(self, schema: Any, place: str, within: tuple[str, ...]) -> Node:
        """within: the references that led here."""
        if not isinstance(schema, Mapping):
            raise TinylmError(f"JSON schema, {place}: expected an object, received {schema!r:.40}")
        if place.count("/") > DEEPEST:
            raise TinylmError(f"JSON schema, {place:.80}: nested too deeply")
        for name, convert in SPECIAL.items():
            if name in schema:
                self._check(schema, place, {name, "type"})
                return convert(self, schema[name], f"{place}/{name}", within)
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not kinds or any(kind not in KEYWORDS for kind in kinds):
            raise TinylmError(
                f"JSON schema, {place}: type is {schema.get('type')!r:.40}, expected {', '.join(KEYWORDS)}"
            )
        self._check(schema, place, {"type"}.union(*(KEYWORDS[kind] for kind in kinds)))
        return Choice(tuple(TYPES[kind](self, schema, place, within) for kind in kinds))

    def _check(self, schema: Mapping[str, Any], place: str, known: set[str]) -> None:
        for name in schema:
            if name not in known and name not in ANNOTATIONS:
                raise TinylmError(f"JSON schema, {place}: {name!r} is not supported here")

    def reference(self, name: Any, place: str, within: tuple[str, ...]) -> Node:
        if name in within:
            raise TinylmError(f"JSON schema, {place}: {name!r} contains itself, which is not supported")
        found = self._root
        for part in str(name).split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None or not str(name).startswith("#/"):
            raise TinylmError(f"JSON schema, {place}: there is no {name!r} in this schema")
        return self.node(found, place, (*within, name))

    def any_of(self, options: Any, place: str, within: tuple[str, ...]) -> Node:
        if not isinstance(options, list) or not options:
            raise TinylmError(f"JSON schema, {place}: expected a list of schemas")
        return Choice(tuple(self.node(option, f"{place}/{at}", within) for at, option in enumerate(options)))

    def values(self, values: Any, place: str, within: tuple[str, ...]) -> Node:
        if not isinstance(values, list) or not values:
            raise TinylmError(f"JSON schema, {place}: expected a list of values")
        return Choice(tuple(literal(_json(value)) for value in values))

    def object(self, schema: Mapping[str, Any], place: str, within: tuple[str, ...]) -> Node:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise TinylmError(f"JSON schema, {place}: properties must be an object, required a list of names")
        if missing := [name for name in required if name not in properties]:
            raise TinylmError(f"JSON schema, {place}: {missing[0]!r} is required, but not among the properties")
        members = [
            (
                sequence([_json(name), ":", SPACE, self.node(value, f"{place}/properties/{name}", within)]),
                name in required,
            )
            for name, value in properties.items()
        ]
        return sequence(["{", _members(members), "}"])

    def array(self, schema: Mapping[str, Any], place: str, within: tuple[str, ...]) -> Node:
        if "items" not in schema:
            raise TinylmError(f"JSON schema, {place}: an array needs items")
        item = self.node(schema["items"], f"{place}/items", within)
        least, most = _bounds(schema, "minItems", "maxItems", place)
        if most == 0:
            return literal("[]")
        more = Repeat(sequence([",", SPACE, item]), max(0, least - 1), None if most is None else most - 1)
        some = sequence(["[", item, more, "]"])
        return some if least else Choice((literal("[]"), some))

    def integer(self, schema: Mapping[str, Any], place: str, within: tuple[str, ...]) -> Node:
        low, high = schema.get("minimum"), schema.get("maximum")
        below, above = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if any(bound is not None and type(bound) is not int for bound in (low, high, below, above)):
            raise TinylmError(f"JSON schema, {place}: the bounds of an integer must be integers")
        lows = [bound for bound in (low, None if below is None else below + 1) if bound is not None]
        highs = [bound for bound in (high, None if above is None else above - 1) if bound is not None]
        return integers_between(max(lows, default=None), min(highs, default=None))

    def string(self, schema: Mapping[str, Any], place: str, within: tuple[str, ...]) -> Node:
        least, most = _bounds(schema, "minLength", "maxLength", place)
        pattern = schema.get("pattern")
        if pattern is None:
            return sequence(['"', Repeat(_escaped(Characters(ALL)), least, most), '"'])
        if not isinstance(pattern, str) or least or most is not None:
            raise TinylmError(f"JSON schema, {place}: pattern must be a text, without minLength and maxLength")
        begins, items, ends = anchored(pattern)
        anything = Repeat(Characters(ALL), 0, None)
        found = [*([] if begins else [anything]), parse_items(items, pattern), *([] if ends else [anything])]
        return sequence(['"', *map(_escaped, found), '"'])


SPACE = optional(literal(" "))
SPECIAL: dict[str, Callable[..., Node]] = {
    "$ref": _Schema.reference,
    "anyOf": _Schema.any_of,
    "enum": _Schema.values,
    "const": lambda self, value, place, within: literal(_json(value)),
}
TYPES: dict[str, Callable[..., Node]] = {
    "object": _Schema.object,
    "array": _Schema.array,
    "string": _Schema.string,
    "integer": _Schema.integer,
    "number": lambda *_: parse_regex(NUMBER),
    "boolean": lambda *_: parse_regex("true|false"),
    "null": lambda *_: literal("null"),
}


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TinylmError(f"JSON schema: {value!r:.40} is no JSON value: {error}") from None


def _members(members: list[tuple[Node, bool]]) -> Node:
    """Members of an object with commas between them; of those that are not required, any may be missing."""
    following: Node = EMPTY  # what may follow a member that has been written
    whole: Node = EMPTY  # what may stand from here on where none has
    for member, required in reversed(members):
        begun = Sequence_((member, following))
        whole = begun if required else Choice((begun, whole))
        after = sequence([",", SPACE, member])
        following = Sequence_((after if required else optional(after), following))
    return whole


def _bounds(schema: Mapping[str, Any], least: str, most: str, place: str) -> tuple[int, int | None]:
    low, high = schema.get(least, 0), schema.get(most)
    numbers = [low] if high is None else [low, high]
    if any(type(number) is not int or number < 0 for number in numbers) or sorted(numbers) != numbers:
        raise TinylmError(f"JSON schema, {place}: {least} is {low!r} and {most} is {high!r}")
    return low, high


def _escaped(node: Node) -> Node:
    """The texts of a tree as they are written between the quotes of a JSON string."""
    if isinstance(node, Characters):
        plain = without(node.ranges, ESCAPED)
        others = [code for low, high in node.ranges for code in range(low, min(high, 0x5C) + 1) if _needs_escape(code)]
        escapes = [literal(SHORT.get(code, f"\\u{code:04x}")) for code in others]
        return Choice((Characters(plain), *escapes)) if escapes else Characters(plain)
    if isinstance(node, Sequence_):
        return Sequence_(tuple(map(_escaped, node.parts)))
    if isinstance(node, Choice):
        return Choice(tuple(map(_escaped, node.options)))
    return Repeat(_escaped(node.body), node.least, node.most)


def _needs_escape(code: int) -> bool:
    return code < 0x20 or code in (ord('"'), ord("\\"))
