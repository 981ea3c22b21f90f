"""A model as a file holds it: settings and tensors under Hugging Face's names, before any Module is built."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.autograd import Parameter
from tinylm.errors import FileFormatError, TinylmError
from tinylm.models import FAMILIES, Model
from tinylm.nn import Initializer
from tinylm.text import Tokenizer

from .pooling import Pooling
from .tensors import FORMATS, StoredTensor, Tensors

__all__ = ["ModelSource"]

# Settings that size more than parameters: the tables of rotary positions.
WIDTHS = ("hidden_size", "head_dim")


@dataclass(frozen=True)
class ModelSource:
    """What a model folder, a GGUF file or an npz file says of a model, whichever it is.

    path: the file or folder; settings: those of config.json, from settings_path; tensors: by the names of
    model.safetensors, made when they are asked for, from weights_path; get_tokenizer: reads the tokenizer, None where
    there is none; get_pooling: reads how an encoder makes one vector of a text.
    """

    path: Path
    settings_path: Path
    weights_path: Path
    settings: Mapping[str, Any]
    tensors: Tensors
    get_tokenizer: Callable[[], Tokenizer] | None
    get_pooling: Callable[[], Pooling] = Pooling

    @classmethod
    def of_file(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        tensors: Tensors,
        get_tokenizer: Callable[[], Tokenizer] | None,
        get_pooling: Callable[[], Pooling] = Pooling,
    ) -> ModelSource:
        """One whose parts all lie in one file."""
        return cls(path, path, path, settings, tensors, get_tokenizer, get_pooling)

    @property
    def family(self) -> type[Model]:
        """The class of the model. Raises FileFormatError for a model_type that is not known here."""
        name = self.settings.get("model_type")
        if not isinstance(name, str) or name not in FAMILIES:
            raise FileFormatError(self.settings_path, f"model_type is {name!r:.60}; supported: {', '.join(FAMILIES)}")
        return FAMILIES[name]

    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises FileFormatError where there is none, or it cannot be read."""
        if self.get_tokenizer is None:
            raise FileFormatError(self.path, "holds no tokenizer")
        return self.get_tokenizer()

    def empty_model(self) -> Model:
        """The Module that the settings describe, its parameters zeros that take no memory.

        Raises FileFormatError for settings that are missing, wrong or not supported, or that ask for more than the file
        holds.
        """
        largest = max((max(self.tensors.stored(name).shape, default=1) for name in self.tensors), default=1)
        for name in WIDTHS:
            if isinstance(value := self.settings.get(name), (int, float)) and value > largest:
                reason = f"{name} is {value:,}, and no tensor has an axis of more than {largest:,}"
                raise FileFormatError(self.settings_path, reason)
        try:
            return self.family.from_settings(self.settings, _Outline(self.tensors))
        except FileFormatError:
            raise
        except (TinylmError, OverflowError, ZeroDivisionError) as error:
            raise FileFormatError(self.settings_path, str(error)) from None

    def checked_tensors(self, model: Model) -> dict[str, StoredTensor]:
        """The tensors that make up the model, by the names its `folder_names` gives; none of them is read.

        Raises FileFormatError naming those that are missing, unknown, of another shape or no floating numbers.
        """
        names = [
            name for name in self.tensors if not name.startswith(model.skipped) and not name.endswith(model.skipped)
        ]
        stored = {model.full_name(name): self.tensors.stored(name) for name in names}
        for copy, name in model.copies.items():  # either may be there, or both
            for missing, there in ((name, copy), (copy, name)):
                if missing not in stored and there in stored:
                    stored[missing] = stored[there]
        shapes = _expected_shapes(model)
        problems = [f"{name} is missing" for name in shapes if name not in stored]
        for name, tensor in stored.items():
            if name not in shapes:
                problems += [f"{name} is unknown"] * (name not in model.copies)
            elif tensor.shape != shapes[name]:
                problems.append(f"{name} has shape {tensor.shape}, expected {shapes[name]}")
            elif tensor.dtype not in FORMATS and not tensor.dtype.startswith("float"):
                problems.append(f"{name} is {tensor.dtype}, expected floating numbers")
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            message = f"{type(model).__name__} cannot take these weights: {'; '.join(problems[:5])}{more}"
            raise FileFormatError(self.weights_path, message)
        return {name: stored[name] for name in shapes}

    def build(self) -> Model:
        """The Module in evaluation mode and float32, its weights memory-mapped where the file holds float32.

        Raises FileFormatError naming the file and the reason for everything that cannot be trusted.
        """
        model = self.empty_model()
        tensors = Tensors(self.checked_tensors(model))
        try:
            return model.load_state_dict(
                {
                    name: stored.join([tensors[part] for part in stored.names])
                    for name, stored in model.folder_names().items()
                }
            )
        except FileFormatError:
            raise
        except TinylmError as error:
            raise FileFormatError(self.weights_path, str(error)) from None

    def build_into(self, model: Model) -> tuple[Model, list[str]]:
        """Give a model of this family, with another head, the weights that are here; as `build`.

        Returns it, and the tensors of its head that are not here, or in another shape: those keep what they have.
        """
        self.checked_tensors(self.empty_model())  # what it says it is, it must be
        there = {model.full_name(name): name for name in self.tensors}
        there |= {name: there[copy] for copy, name in model.copies.items() if copy in there and name not in there}
        shapes, state = _expected_shapes(model), model.state_dict()
        new: list[str] = []
        for name, stored in model.folder_names().items():
            if all(part in there and self.tensors.stored(there[part]).shape == shapes[part] for part in stored.names):
                state[name] = stored.join([self.tensors[there[part]] for part in stored.names])
            elif name.startswith("head."):
                new += stored.names
            else:
                raise FileFormatError(self.weights_path, f"{', '.join(stored.names)} is missing, or of another shape")
        return model.load_state_dict(state), new


def _expected_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """For each tensor of a folder the shape that the model's parameter needs."""
    parameters = dict(model.named_parameters())
    shapes: dict[str, tuple[int, ...]] = {}
    for name, stored in model.folder_names().items():
        rows, *rest = parameters[name].shape
        for part, part_rows in zip(stored.names, stored.rows or (rows,), strict=True):
            shapes[part] = (*reversed(rest), part_rows) if stored.transposed else (part_rows, *rest)
    return shapes


class _Outline(Initializer):
    """Makes parameters that only have a shape, and hardly more of them than a file has tensors.

    Without that bound a config.json of a hundred bytes could ask for any time.
    """

    def __init__(self, tensors: Tensors):
        super().__init__(seed=None)
        self._left = 2 * len(tensors) + 100

    def zeros(self, *shape: int) -> Parameter:
        self._left -= 1
        if self._left < 0 or math.prod(shape) > sys.maxsize:
            raise TinylmError("the settings describe a larger model than the tensors make up")
        return Parameter(np.broadcast_to(self.dtype.type(0), shape))

    def ones(self, *shape: int) -> Parameter:
        return self.zeros(*shape)
