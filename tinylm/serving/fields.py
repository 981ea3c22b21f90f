"""Reading the fields of a request: each reader checks one field, and names what was received and what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from starlette.requests import Request

from tinylm.errors import FileFormatError, TinylmError, nearest
from tinylm.files import parse_json
from tinylm.inference.grammar import parse_json_schema

from .errors import ApiError

__all__ = ["Fields", "Prompt", "read_fields"]

T = TypeVar("T")
Prompt = str | list[int]  # a text, or the ids of its tokens

# What clients may say about themselves; it changes nothing here.
REMARKS = frozenset(["user", "metadata", "store", "safety_identifier"])
# A body takes some hundred times its bytes where it is all of empty lists.
MOST_VALUES = 1_000_000


async def read_fields(request: Request) -> Fields:
    """The JSON object in a request's body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # a browser asks before it sends this kind to another site, and is refused
        raise ApiError(415, f"the Content-Type is {kind or 'missing'!r}, expected 'application/json'")
    try:
        values = parse_json(await request.body(), "the body", max_values=MOST_VALUES)
    except FileFormatError as error:
        raise ApiError(400, str(error)) from None
    if not isinstance(values, dict):
        raise ApiError(400, f"the body is {shown(values)}, expected a JSON object")
    return Fields(values)


class Fields:
    """The fields of a JSON object. null is what is not there. Each field is read once; `end` refuses what is left.

    place: where the object is, for messages: "stream_options.".
    """

    def __init__(self, values: dict[str, Any], place: str = ""):
        self._values = {name: value for name, value in values.items() if value is not None}
        self._place = place
        self._known: list[str] = []

    def end(self) -> None:
        """Raises ApiError for a field that nobody has asked for: it would have no effect."""
        if unknown := sorted(self._values.keys() - REMARKS):
            hint = nearest(unknown[0], self._known)
            self.refuse(unknown[0], f"there is no field {self._place + unknown[0]!r:.80} here{hint}")

    def integer(self, name: str, default: T, *, least: int, most: int) -> int | T:
        """A whole number in a range."""
        kinds = (int,)  # not bool, which isinstance takes as well
        return self._read(name, default, _in_range(kinds, least, most), f"a whole number from {least} to {most}")

    def number(self, name: str, default: T, *, least: float, most: float) -> float | T:
        """A number in a range."""
        return self._read(name, default, _in_range((int, float), least, most), f"a number from {least:g} to {most:g}")

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        return self._read(name, default, lambda value: isinstance(value, bool), "true or false")

    def one_of(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of some words."""
        return self._read(name, default, lambda value: value in choices, " or ".join(map(repr, choices)))

    def text(self, name: str, default: T) -> str | T:
        """A text."""
        return self._read(name, default, lambda value: isinstance(value, str), "a text")

    def object(self, name: str) -> Fields:
        """The fields of an object, none where it is missing."""
        value = self._read(name, {}, lambda value: isinstance(value, dict), "an object")
        return Fields(value, f"{self._place}{name}.")

    def stops(self) -> tuple[str, ...]:
        """`stop`: one text or up to 16."""
        expected = "a text or up to 16, none of them empty"
        stops = self._read("stop", (), lambda value: _are(str, _listed(value)) and all(_listed(value)), expected)
        if len(_listed(stops)) > 16:
            self.refuse("stop", f"stop has {len(stops)} texts, expected {expected}")
        return tuple(_listed(stops))

    def biases(self, vocabulary: int) -> dict[int, float]:
        """`logit_bias`: numbers by the ids of tokens, which are texts in JSON."""

        def fits(value: Any) -> bool:
            return isinstance(value, dict) and all(
                id.isascii() and id.isdigit() and len(id) < 10 and int(id) < vocabulary and _is_bias(bias)
                for id, bias in value.items()
            )

        expected = f"an object of numbers from -100 to 100 by the ids of tokens, 0 to {vocabulary - 1}"
        return {int(id): bias for id, bias in self._read("logit_bias", {}, fits, expected).items()}

    def texts(self, name: str, most: int) -> list[str]:
        """A text, or several."""
        value = self._read(name, [], lambda value: _are(str, _listed(value)), "a text or a list of texts")
        return self._some(name, _listed(value), most, "a text or a list of texts")

    def prompts(self, name: str, vocabulary: int, most: int) -> list[Prompt]:
        """A text or several; or the ids of the tokens of one, or of several."""

        def is_row(row: Any) -> bool:
            return isinstance(row, list) and bool(row) and _are(int, row) and all(0 <= id < vocabulary for id in row)

        def fits(value: Any) -> bool:
            return _are(str, _listed(value)) or is_row(value) or all(is_row(row) for row in _listed(value))

        expected = f"a text, a list of texts, or ids of tokens, 0 to {vocabulary - 1}, in one list or several"
        value = self._read(name, [], fits, expected)
        return self._some(name, [value] if is_row(value) else _listed(value), most, expected)

    def schema(self) -> dict[str, Any] | None:
        """The schema of `response_format`, {"type": "json_schema", "json_schema": {"schema": ...}}; None for a text."""
        form = self.object("response_format")
        kind = form.one_of("type", "text", ("text", "json_schema"))
        given = form.object("json_schema")
        for name in ("name", "description"):
            given.text(name, None)
        given.flag("strict")
        schema = given._read("schema", None, lambda value: isinstance(value, dict), "an object")
        given.end()
        form.end()
        if kind == "text":
            return None
        if schema is None:
            self.refuse("response_format", "response_format has the type 'json_schema' and no json_schema.schema")
        try:
            parse_json_schema(schema)
        except TinylmError as error:
            self.refuse("response_format", str(error))
        return schema

    def messages(self) -> list[dict[str, Any]]:
        """`messages`: objects with a role and a content, a text or a list of parts of type "text"."""
        value = self._read("messages", [], lambda value: isinstance(value, list), "a list of messages")
        if not value:
            self.refuse("messages", "messages is missing or empty, expected a list of messages")
        return [self._message(number, message) for number, message in enumerate(value)]

    def _message(self, number: int, message: Any) -> dict[str, Any]:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list) and all(_is_text_part(part) for part in content):
            content = "".join(part["text"] for part in content)
        if not isinstance(content, str) or not isinstance(message.get("role"), str):
            received = f"messages[{number}] is {shown(message)}"
            self.refuse("messages", f"{received}, expected an object with a text as role and a text as content")
        return {**message, "content": content}

    def _some(self, name: str, values: list[T], most: int, expected: str) -> list[T]:
        if not values:
            self.refuse(name, f"{self._place}{name} is missing or empty, expected {expected}")
        if len(values) > most:
            self.refuse(name, f"{self._place}{name} has {len(values)} texts, expected at most {most}")
        return values

    def refuse(self, name: str, message: str) -> NoReturn:
        """Raise ApiError for a field."""
        raise ApiError(400, message, param=self._place + name)

    def _read(self, name: str, default: Any, fits: Callable[[Any], bool], expected: str) -> Any:
        self._known.append(name)
        if name not in self._values:
            return default
        value = self._values.pop(name)
        if not fits(value):
            self.refuse(name, f"{self._place}{name} is {shown(value)}, expected {expected}")
        return value


def shown(value: Any) -> str:
    """A value as its JSON, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "deeply nested"
    return text if len(text) <= 60 else text[:59] + "…"


def _in_range(kinds: tuple[type, ...], least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds and least <= value <= most


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _are(kind: type, values: Iterable[Any]) -> bool:
    return all(type(value) is kind for value in values)


def _is_bias(value: Any) -> bool:
    return type(value) in (int, float) and -100 <= value <= 100


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
