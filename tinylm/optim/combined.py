"""Several optimizers as one, and Muon with AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinylm.autograd import Parameter
from tinylm.errors import TinylmError
from tinylm.nn import Embedding, Module

from .adam import AdamW
from .muon import Muon
from .optimizer import Optimizer, ParameterGroup, parameter_groups

__all__ = ["Combined", "muon_with_adamw"]


class Combined(Optimizer):
    """Takes a step with each of several optimizers, which have parameters of their own.

    Its state is theirs, their names after the number of the optimizer: "0.steps".
    """

    def __init__(self, optimizers: Iterable[Optimizer]):
        self.optimizers = list(optimizers)
        self.groups = [group for optimizer in self.optimizers for group in optimizer.groups]

    def step(self, learning_rate: float, *, scale: float = 1.0) -> None:
        for optimizer in self.optimizers:
            optimizer.step(learning_rate, scale=scale)

    def state_dict(self) -> dict[str, np.ndarray]:
        states = enumerate(optimizer.state_dict() for optimizer in self.optimizers)
        return {f"{number}.{name}": array for number, state in states for name, array in state.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        parts: list[dict[str, np.ndarray]] = [{} for _ in self.optimizers]
        for name, array in state.items():
            number, _, rest = name.partition(".")
            if not (number.isdecimal() and int(number) < len(parts)):
                raise TinylmError(f"the saved state of {len(parts)} optimizers does not fit: received {name!r}")
            parts[int(number)][rest] = array
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            optimizer.load_state_dict(part)


def muon_with_adamw(
    model: Module,
    weight_decay: float,
    *,
    betas: tuple[float, float] = (0.95, 0.99),
    eps: float = 1e-8,
) -> Optimizer:
    """Muon for the matrices inside the model, AdamW for embeddings, the output projection and vectors.

    betas: AdamW's; the first is Muon's momentum too. Both take the same rate and decay.
    """
    inside = hidden_matrices(model)
    ids = {id(p) for p in inside}
    others = parameter_groups((p for p in model.parameters() if id(p) not in ids), weight_decay)
    if not inside:
        return AdamW(others, betas=betas, eps=eps)
    muon = Muon([ParameterGroup(inside, weight_decay=weight_decay)], momentum=betas[0])
    return Combined([muon, AdamW(others, betas=betas, eps=eps)]) if others else muon


def hidden_matrices(model: Module) -> list[Parameter]:
    """The trained matrices of a model but those of its embeddings and its `head_weight`, the output projection."""
    outside = {id(m.weight) for _, m in model.named_modules() if isinstance(m, Embedding)}
    outside.add(id(getattr(model, "head_weight", None)))
    return [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in outside]
