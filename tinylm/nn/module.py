"""Module: what layers and models are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from tinylm.autograd import Parameter, at_path, current_observer, current_path
from tinylm.errors import TinylmError

__all__ = ["Module"]


class Module:
    """A function with parameters. Subclasses set Parameters and Modules as attributes and define `forward`.

    Names follow the attributes, and lists of modules their indices: "blocks.0.attention.qkv.weight". A new module is
    in evaluation mode; `train()` switches dropout on.
    """

    training = False
    _path = ""

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        """What calling the module computes."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        if current_observer() is None:
            return self.forward(*inputs, **settings)
        with self.observed():
            return self.forward(*inputs, **settings)

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Within the block, an observer sees operations as this module's, as it does within a call of it."""
        if current_path() is None and current_observer() is not None:
            for path, module in self.named_modules():  # the outermost module: its parts learn their names
                module._path = path
        with at_path(self._path):
            yield

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module, whose name is the prefix, and all below it, from the outside in."""
        yield prefix, self
        for name, value in vars(self).items():
            path = f"{prefix}.{name}" if prefix else name
            if isinstance(value, Module):
                yield from value.named_modules(path)
            elif isinstance(value, (list, tuple)):
                for index, item in enumerate(value):
                    if isinstance(item, Module):
                        yield from item.named_modules(f"{path}.{index}")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, under the first name it has."""
        seen = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def train(self, mode: bool = True) -> Self:
        """Switch training mode, on which dropout depends, on or off for all modules below; return this one."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch training mode off."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays of all parameters by name: the arrays themselves, not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> Self:
        """Take the arrays of `state` as parameters, without a copy where the dtype is right; return this module.

        Raises TinylmError, and changes nothing, where a name is missing or unknown or a shape differs.
        """
        parameters = dict(self.named_parameters())
        problems = [f"{name} is missing" for name in parameters if name not in state]
        problems += [f"{name} is unknown" for name in state if name not in parameters]
        problems += [
            f"{name} has shape {tuple(state[name].shape)}, expected {parameter.shape}"
            for name, parameter in parameters.items()
            if name in state and state[name].shape != parameter.shape
        ]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise TinylmError(f"{type(self).__name__} cannot take these weights: {'; '.join(problems[:5])}{more}")
        for name, parameter in parameters.items():
            parameter.data = state[name].astype(parameter.dtype, copy=False)
        return self

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters to a floating dtype; return this module."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = parameter.gradient_buffer = None
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def num_parameters(self) -> int:
        """How many numbers are trained; tied ones count once."""
        return sum(parameter.size for parameter in self.parameters() if parameter.requires_grad)

    def summary(self) -> str:
        """A table of all parameters: name, shape, count, and the total with its size in memory."""
        rows = [(name, str(p.shape), f"{p.size:,}") for name, p in self.named_parameters()]
        size = sum(p.data.nbytes for p in self.parameters())
        rows.append(("total", f"{size / 2**20:.1f} MiB", f"{self.num_parameters():,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}" for name, shape, count in rows
        )
