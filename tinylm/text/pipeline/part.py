"""Reading one component of a tokenizer.json strictly: whatever is not as expected is named with its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn, TypeVar

from tinylm.errors import FileFormatError

__all__ = ["Part", "build"]

T = TypeVar("T")
REQUIRED: Any = object()
MAX_DEPTH = 16  # of sequences in sequences; real files have one


class Part:
    """A JSON object of a file, and where it stands there, for the message of what is wrong with it.

    Each method reads one field; `close` refuses those that nobody has read, since they would change the meaning.
    """

    def __init__(self, file: str, place: str, value: Any, *, depth: int = 0):
        self.file, self.place, self._depth = file, place, depth
        if depth > MAX_DEPTH:
            self.refuse(f"is nested too deeply: more than {MAX_DEPTH} sequences in each other")
        if not isinstance(value, dict):
            self.refuse(f"must be a JSON object, not {value!r:.60}")
        self._value: dict[str, Any] = value
        self._read: set[str] = set()

    def refuse(self, reason: str) -> NoReturn:
        """Raises the FileFormatError that names the file, this place and the reason."""
        raise FileFormatError(self.file, f"{self.place} {reason}")

    def any(self, name: str, default: Any = REQUIRED) -> Any:
        """A field of any type."""
        self._read.add(name)
        if name not in self._value and default is REQUIRED:
            self.refuse(f"lacks the field {name!r}")
        return self._value.get(name, default)

    def text(self, name: str, default: str = REQUIRED) -> str:
        """A field that is a string."""
        return self._of(name, default, str, "a string")

    def optional_text(self, name: str) -> str | None:
        """A field that is a string, None where it is null or missing."""
        return None if self.any(name, None) is None else self.text(name)

    def flag(self, name: str, default: bool = REQUIRED) -> bool:
        """A field that is true or false."""
        return self._of(name, default, bool, "true or false")

    def whole(self, name: str, default: int = REQUIRED, *, least: int = 0) -> int:
        """A field that is a whole number of at least `least`."""
        value = self._of(name, default, int, "a whole number")
        if value < least:
            self.refuse(f"field {name} is {value}, expected at least {least}")
        return value

    def character(self, name: str, default: str = REQUIRED) -> str:
        """A field that is one character."""
        value = self.text(name, default)
        if len(value) != 1:
            self.refuse(f"field {name} is {value!r:.60}, expected one character")
        return value

    def choice(self, name: str, choices: Collection[str], default: str = REQUIRED) -> str:
        """A field that is one of a few words, in any case of its letters."""
        value = self.text(name, default)
        by_name = {choice.lower(): choice for choice in choices}
        if value.lower() not in by_name:
            self.refuse(f"field {name} is {value!r:.60}; supported: {', '.join(choices)}")
        return by_name[value.lower()]

    def items(self, name: str, default: Any = REQUIRED) -> list[Any]:
        """A field that is a list."""
        return self._of(name, default, list, "a list")

    def table(self, name: str, default: Any = REQUIRED) -> dict[str, Any]:
        """A field that is an object."""
        return self._of(name, default, dict, "an object")

    def parts(self, name: str) -> list[Part]:
        """A field that is a list of components."""
        places = ((f"{self.place}.{name}[{number}]", value) for number, value in enumerate(self.items(name)))
        return [Part(self.file, place, value, depth=self._depth + 1) for place, value in places]

    def optional(self, name: str) -> Part | None:
        """A field that is a component, None where it is null or missing."""
        value = self.any(name, None)
        place = name if self.place == "the file" else f"{self.place}.{name}"
        return None if value is None else Part(self.file, place, value)

    def with_type(self, kind: str) -> Part:
        """The component with a type, where the file does not write one."""
        return Part(self.file, self.place, {"type": kind, **self._value})

    def close(self) -> None:
        """Refuse fields that were not read."""
        if unknown := sorted(self._value.keys() - self._read):
            self.refuse(f"has the unknown field {unknown[0]!r:.60}")

    def _of(self, name: str, default: Any, kind: type[T], words: str) -> T:
        value = self.any(name, default)
        if type(value) is not kind:  # True is an int to isinstance
            self.refuse(f"field {name} must be {words}, not {value!r:.60}")
        return value


def build(part: Part, builders: Mapping[str, Callable[[Part], T]]) -> T:
    """What the builder for the type of a component makes of it."""
    kind = part.text("type")
    if kind not in builders:
        part.refuse(f"of type {kind!r:.60} is not supported; supported: {', '.join(sorted(builders))}")
    part.place = f"{part.place} {kind}"
    made = builders[kind](part)
    part.close()
    return made
