"""What every model here has, whatever it computes: settings, and its place in a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.errors import TinylmError
from tinylm.nn import Initializer, Module

from .config import read_config
from .stored import Stored, stored_parameters

__all__ = ["Model"]


class Model(Module):
    """A module with a config, which a model folder can hold.

    model_type, architecture: what config.json calls the family and the class. unsupported: settings of Hugging Face's
    that would change the result, with the one value that is computed here. copies: tensors that a folder may hold as
    well, or instead, for the same numbers, each with the one that counts. skipped: how the names of tensors begin or
    end that are read over: constants, and the heads of other tasks.
    """

    model_type: str
    config_class: ClassVar[type]
    architecture: str
    unsupported: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    copies: ClassVar[Mapping[str, str]] = MappingProxyType({})
    skipped: tuple[str, ...] = ()
    config: Any
    # Whether training computes each block again in the backward pass instead of keeping what lies inside it
    # (`tinylm.autograd.checkpoint`): less memory, more time, the same bits. None where a family cannot.
    gradient_checkpointing: bool | None = None
    # What its models end in where nothing else is said: what they predict.
    main_head: ClassVar[str] = "language"

    def __init__(self, config: Any, init: Initializer):
        self.config = config

    def folder_names(self) -> Mapping[str, Stored]:
        """For each of our parameters, but for those of LoRA, where it lies in a model folder."""
        return {name: Stored((name,)) for name in stored_parameters(self)}

    def full_name(self, stored: str) -> str:
        """The name that `folder_names` uses for a tensor of a folder, where folders differ."""
        return stored

    @classmethod
    def architectures(cls) -> dict[str, str]:
        """What config.json calls a model of this family, by what it ends in: "language", "classification", ..."""
        return {cls.main_head: cls.architecture}

    @classmethod
    def architecture_with(cls, head: str) -> str:
        """The name for a head. Raises TinylmError where the family has no such head."""
        names = cls.architectures()
        if head not in names:
            raise TinylmError(f"{cls.model_type} models have no head for {head!r}, only for {', '.join(names)}")
        return names[head]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Model:
        """A model from the settings of a config.json. Raises TinylmError for what is missing, wrong or unsupported."""
        return cls(cls.read_config(settings), init)

    @classmethod
    def read_config(cls, settings: Mapping[str, Any]) -> Any:
        """The config from the settings of a config.json; raises as `from_settings` does."""
        for name, supported in cls.unsupported.items():
            if settings.get(name, supported) != supported:
                raise TinylmError(f"{cls.__name__} config: {name}={settings[name]} is not supported, only {supported}")
        return read_config(cls.config_class, settings)
