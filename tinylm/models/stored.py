"""Where the parameters of a model lie in a model folder: names as tables, and what is stored in another shape."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm.nn import FusedLinear, LowRank, Module

__all__ = ["Stored", "stored_names", "stored_parameters"]


@dataclass(frozen=True)
class Stored:
    """The tensors of a folder that make one parameter of ours.

    names: of the tensors, which lie one above the other in ours; rows: how many each has, where there are several.
    transposed: stored as (inputs, outputs). heads: not 0 where queries, keys and values are stored head by head, and
    ours has those of all heads beside each other.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...] = ()
    transposed: bool = False
    heads: int = 0

    def join(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """Our parameter from the tensors of the folder; a view where there is one tensor, as ours has it.

        Raises TinylmError where they do not fit together.
        """
        for name, rows, tensor in zip(self.names, self.rows, tensors, strict=False):
            if tensor.shape != (rows, *tensors[0].shape[1:]):
                raise TinylmError(f"{name} has shape {tensor.shape}, expected {(rows, *tensors[0].shape[1:])}")
        if self.heads and len(tensors[0]) % (3 * self.heads):
            raise TinylmError(f"{self.names[0]} has {len(tensors[0])} rows, not a multiple of 3 x {self.heads} heads")
        array = tensors[0] if len(tensors) == 1 else np.concatenate(tensors)
        if self.transposed:
            return array.T
        return self._swap(array, self.heads, 3) if self.heads else array

    def split(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors of the folder, by name, from our parameter."""
        if self.transposed:
            array = array.T
        if self.heads:
            array = self._swap(array, 3, self.heads)
        parts = np.split(array, np.cumsum(self.rows)[:-1]) if len(self.names) > 1 else [array]
        return dict(zip(self.names, parts, strict=True))

    @staticmethod
    def _swap(array: np.ndarray, outer: int, inner: int) -> np.ndarray:
        """Rows that lie as (outer, inner, D) put as (inner, outer, D)."""
        split = array.reshape(outer, inner, -1, *array.shape[1:])
        return np.ascontiguousarray(split.swapaxes(0, 1)).reshape(array.shape)


def stored_parameters(model: Module) -> Iterator[str]:
    """The names of the parameters that a model folder holds: all but those of LoRA."""
    added = {id(p) for _, module in model.named_modules() if isinstance(module, LowRank) for p in (module.a, module.b)}
    return (name for name, parameter in model.named_parameters() if id(parameter) not in added)


def stored_names(
    model: Module,
    table: Mapping[str, str | tuple[str, ...]],
    *,
    transposed: Collection[str] = (),
    heads: Mapping[str, int] | None = None,
) -> dict[str, Stored]:
    """For each parameter of the model where it is stored.

    table: for the path of a module, with * for a number, the name of the stored one, or of several that are one here;
    or the same for a parameter with a name of its own. transposed, heads: of which paths that holds; see `Stored`.
    """
    modules = dict(model.named_modules())
    found = {}
    for name in stored_parameters(model):
        path, _, kind = name.rpartition(".")
        pattern, numbers = re.sub(r"\b\d+\b", "*", path), re.findall(r"\b\d+\b", path)
        if (own := re.sub(r"\b\d+\b", "*", name)) in table:
            targets: Any = table[own]
            suffix = ""
        else:
            targets, suffix = table[pattern], f".{kind}"
        names = tuple(
            _fill(target, numbers) + suffix for target in ((targets,) if isinstance(targets, str) else targets)
        )
        module = modules[path]
        found[name] = Stored(
            names,
            rows=module.parts if isinstance(module, FusedLinear) and len(names) > 1 else (),
            transposed=kind == "weight" and pattern in transposed,
            heads=(heads or {}).get(pattern, 0),
        )
    return found


def _fill(pattern: str, numbers: Sequence[str]) -> str:
    """The pattern with its stars replaced by the numbers."""
    for number in numbers:
        pattern = pattern.replace("*", number, 1)
    return pattern
