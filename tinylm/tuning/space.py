"""What is searched: for each setting a range or some choices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinylm.errors import TinylmError, nearest
from tinylm.tasks import OF_NEW_MODELS, RECURRENT, TrainSettings, read_setting

__all__ = ["Choices", "Range", "Space", "default_space", "draw", "parse_space", "read_space"]

NOTHING = "none"  # a setting of several values that has none
WITHOUT_DROPOUT = ("llama",)
LOGARITHMIC = 10  # a range whose end is this many times its beginning is searched by magnitude


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; whole ones where both are."""

    low: float
    high: float

    @property
    def is_logarithmic(self) -> bool:
        """Whether each magnitude is as likely as the next, instead of each number."""
        return self.low > 0 and self.high / self.low >= LOGARITHMIC

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[Any, ...]:
        """The values as Optuna, tables and plots know them: several values of one setting as --set takes them."""
        return tuple(",".join(value) or NOTHING if isinstance(value, tuple) else value for value in self.values)

    def __str__(self) -> str:
        return ",".join(map(str, self.labels))


Space = Mapping[str, Range | Choices]


def parse_space(texts: Iterable[str]) -> dict[str, Any]:
    """{"width": "64,128"} from ["width=64,128"]. Raises TinylmError for anything without a name and "="."""
    found = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (name.strip() and equals and values.strip()):
            raise TinylmError(f"--search takes name=low..high or name=a,b,c; received {text!r}")
        found[name.strip()] = values.strip()
    return found


def read_space(given: Mapping[str, Any], settings: TrainSettings) -> dict[str, Range | Choices]:
    """The space that a user means: "1e-4..1e-2", "64,128", (1e-4, 1e-2) for a range, [64, 128] for choices.

    Raises TinylmError for a setting that does not exist or that values do not fit.
    """
    return {name: _read(name, value, settings) for name, value in given.items()}


def _read(name: str, value: Any, settings: TrainSettings) -> Range | Choices:
    fields = [field.name for field in dataclasses.fields(settings)]
    if name not in fields:
        raise TinylmError(f"search: unknown setting {name!r}{nearest(name, fields)}")
    if settings.init and name in OF_NEW_MODELS:
        raise TinylmError(f"search: {settings.init} brings its own {name}")
    if isinstance(value, Range | Choices):
        return value
    if isinstance(value, str) and ".." in value:
        value = tuple(part.strip() for part in value.split("..", 1))
    elif isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, Sequence) or not value:
        raise TinylmError(f"search: {name} is {value!r}, expected low..high or choices")
    if isinstance(getattr(settings, name), tuple):  # a setting of several values, parted by + where , parts choices
        chosen = [item.replace("+", ",") if isinstance(item, str) else item for item in value]
        value = [() if item in ("", NOTHING) else item for item in chosen]
    values = tuple(read_setting(settings, name, item) for item in value)
    if not isinstance(value, tuple):
        return Choices(tuple(dict.fromkeys(values)))
    if len(values) != 2 or not all(type(item) in (int, float) for item in values) or not values[0] < values[1]:
        raise TinylmError(f"search: {name} is {'..'.join(map(str, values))}, expected two numbers, the smaller first")
    return Range(*values)


def default_space(settings: TrainSettings) -> dict[str, Range | Choices]:
    """What is searched where the user does not say: the learning rate, and of a new model its size and dropout."""
    space: dict[str, Range | Choices] = {
        "learning_rate": Range(settings.learning_rate / 10, settings.learning_rate * 3),
    }
    if not settings.init:
        unit = 1 if settings.model in RECURRENT else settings.heads
        narrow, few = settings.width // (2 * unit) * unit, settings.layers // 2
        space |= {"width": Choices((narrow, settings.width))} if narrow else {}
        space |= {"layers": Choices((few, settings.layers))} if few else {}
        space |= {} if settings.model in WITHOUT_DROPOUT else {"dropout": Range(0.0, 0.3)}
    return space


def draw(trial: Any, space: Space) -> dict[str, Any]:
    """The settings of a trial of Optuna's."""
    drawn: dict[str, Any] = {}
    for name, values in space.items():
        if isinstance(values, Choices):
            label = trial.suggest_categorical(name, values.labels)
            drawn[name] = values.values[values.labels.index(label)]
        elif values.is_whole:
            drawn[name] = trial.suggest_int(name, values.low, values.high, log=values.is_logarithmic)
        else:
            drawn[name] = trial.suggest_float(name, values.low, values.high, log=values.is_logarithmic)
    return drawn
