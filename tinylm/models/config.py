"""Reading a model's settings from the config.json of its folder, and checking them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from tinylm.errors import TinylmError

from .activations import ACTIVATIONS

__all__ = [
    "check_activation",
    "check_divides",
    "check_positive",
    "check_rates",
    "flat_rope_settings",
    "read_config",
]

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


def check_positive(config: Any, *names: str) -> None:
    """Raise TinylmError for a setting that is below 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise TinylmError(f"{type(config).__name__}: {name} is {getattr(config, name)}, expected at least 1")


def check_divides(config: Any, name: str, by: str) -> None:
    """Raise TinylmError unless one setting divides by another."""
    value, divisor = getattr(config, name), getattr(config, by)
    if value % divisor:
        raise TinylmError(f"{type(config).__name__}: {name} {value} does not divide into {by} {divisor}")


def check_activation(config: Any, name: str) -> None:
    """Raise TinylmError for an activation that is not among `ACTIVATIONS`."""
    if getattr(config, name) not in ACTIVATIONS:
        raise TinylmError(
            f"{type(config).__name__}: {name} is {getattr(config, name)!r}, supported: {', '.join(ACTIVATIONS)}"
        )


def check_rates(config: Any, *names: str) -> None:
    """Raise TinylmError for a rate of dropout outside 0 <= rate < 1."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise TinylmError(f"{type(config).__name__}: {name} is {getattr(config, name)}, expected 0 <= rate < 1")


def flat_rope_settings(settings: Mapping[str, Any], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings with rotary positions as rope_theta and rope_scaling, where newer files have one rope_parameters.

    names: what the family calls a setting that stands in rope_parameters.
    """
    flat = dict(settings)
    scaling = dict(flat.pop("rope_parameters", None) or {})
    for name in ("rope_theta", "partial_rotary_factor"):
        own = (names or {}).get(name, name)
        if name in scaling:
            flat[own] = scaling.pop(name)
    if scaling and scaling.get("rope_type", "default") != "default":
        flat["rope_scaling"] = scaling
    return flat
