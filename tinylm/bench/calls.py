"""A call of a kernel, as the tests and the benchmarks hand it about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

# Which of a kernel's results `out=` receives, where it is not the first one alone.
RECEIVED_BY_OUT = {
    "cross_entropy_with_gradient": (1,),
    "attention_backward": (0, 1, 2),
    "adamw": (0, 1, 2),
    "swiglu_backward": (0, 1),
}


@dataclass(frozen=True)
class Case:
    """The arguments of one call."""

    arrays: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Kinds, shapes and strides: what a failing example is recognised by."""
        arrays = ", ".join("None" if a is None else f"{a.dtype}{a.shape} strides {a.strides}" for a in self.arrays)
        return f"<Case {arrays}; {self.settings}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis would print every number

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the floating arrays."""
        return next(a.dtype for a in self.arrays if a is not None and a.dtype.kind == "f")

    def cast(self, dtype: Any) -> Case:
        """The same case with its floating arrays in another dtype."""
        return self.map(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a)

    def copy(self) -> Case:
        """The same case in contiguous arrays of its own."""
        return self.map(lambda a: a.copy(order="C"))

    def map(self, function: Callable[[Any], Any]) -> Case:
        """The same case with every array replaced by function(array)."""
        return replace(self, arrays=tuple(None if a is None else function(a) for a in self.arrays))
