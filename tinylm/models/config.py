"""Reading a model's settings from the config.json of its folder."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from tinylm.errors import TinylmError

__all__ = ["read_config"]

Config = TypeVar("Config")


def read_config(config_class: type[Config], settings: Mapping[str, Any]) -> Config:
    """An instance of the dataclass from the settings it knows; others, which other libraries add, are passed over.

    Raises TinylmError naming a setting that is missing or of the wrong type.
    """
    hints = typing.get_type_hints(config_class)
    chosen = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        if field.name in settings:
            chosen[field.name] = _checked(field.name, settings[field.name], hints[field.name])
        elif field.default is dataclasses.MISSING:
            raise TinylmError(f"{config_class.__name__}: the setting {field.name!r} is missing")
    return config_class(**chosen)


def _checked(name: str, value: Any, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in options and type(value) is int:
        return float(value)
    if type(value) not in options and not (value is None and types.NoneType in options):
        wanted = " or ".join(getattr(option, "__name__", str(option)) for option in options)
        raise TinylmError(f"config: {name} is {value!r}, expected {wanted}")
    return value
