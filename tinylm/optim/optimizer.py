"""What all optimizers share: groups of parameters in flat buffers, the gradient's norm, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter
from tinylm.errors import TinylmError
from tinylm.nn import Module

__all__ = ["Optimizer", "ParameterGroup", "check_shares", "clip_scale", "parameter_groups", "views"]


class ParameterGroup:
    """Parameters that are updated with the same settings.

    They move into one flat buffer, and their gradients into another, so that an update is one pass over memory.
    Each parameter's `data` becomes a view, and the backward pass writes into the view that is its gradient_buffer.

    rate: what multiplies the learning rate of the step for this group.
    """

    def __init__(self, parameters: Iterable[Parameter], *, weight_decay: float = 0.0, rate: float = 1.0):
        self.parameters = list(parameters)
        self.weight_decay, self.rate = weight_decay, rate
        dtypes = {p.dtype for p in self.parameters}
        if len(dtypes) != 1:
            raise ValueError(f"a parameter group needs parameters of one dtype, received {sorted(map(str, dtypes))}")
        self.shapes = [p.shape for p in self.parameters]
        self.data = np.empty(sum(p.size for p in self.parameters), dtypes.pop())
        self.gradients = np.zeros_like(self.data)
        places = zip(self.parameters, views(self.data, self.shapes), views(self.gradients, self.shapes), strict=True)
        for p, view, gradient in places:
            view[...] = p.data
            p.data, p.grad, p.gradient_buffer = view, None, gradient

    def collect(self) -> None:
        """See that every gradient lies in the flat buffer; a parameter that got none counts as zero."""
        for p in self.parameters:
            if p.grad is None:
                p.gradient_buffer[...] = 0
            elif p.grad is not p.gradient_buffer:
                p.gradient_buffer[...] = p.grad
            p.grad = p.gradient_buffer


def views(flat: np.ndarray, shapes: Iterable[tuple[int, ...]]) -> list[np.ndarray]:
    """Arrays of these shapes that lie one after another in a flat buffer: views, not copies."""
    result, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        result.append(flat[start:end].reshape(shape))
        start = end
    return result


def parameter_groups(model: Module | Iterable[Parameter], weight_decay: float) -> list[ParameterGroup]:
    """Two groups of what is trained: matrices and embeddings decay, vectors (biases, the weights of norms) do not."""
    given = model.parameters() if isinstance(model, Module) else model
    parameters = [p for p in given if p.requires_grad]
    matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = []
    if matrices:
        groups.append(ParameterGroup(matrices, weight_decay=weight_decay))
    if vectors:
        groups.append(ParameterGroup(vectors))
    return groups


class Optimizer:
    """Updates groups of parameters from their gradients. Subclasses name their buffers and define `_update`.

    parameters: groups, or parameters, which make one group without weight decay. Buffers begin as zeros of the size of
    the group; `_new_buffers` makes others.
    """

    buffer_names: Sequence[str] = ()

    def __init__(self, parameters: Iterable[ParameterGroup] | Iterable[Parameter]):
        given = list(parameters)
        if not given:
            raise ValueError(f"{type(self).__name__} received no parameters")
        self.groups = [g for g in given if isinstance(g, ParameterGroup)]
        if loose := [p for p in given if isinstance(p, Parameter)]:
            self.groups.append(ParameterGroup(loose))
        self.buffers = [self._new_buffers(group) for group in self.groups]
        self.steps = 0

    def zero_grad(self) -> None:
        """Forget the gradients; the next backward pass overwrites the buffers."""
        for group in self.groups:
            for p in group.parameters:
                p.grad = None

    def gradient_norm(self) -> float:
        """The Euclidean norm of all gradients as one vector; not finite where any of them is not."""
        for group in self.groups:
            group.collect()
        return math.sqrt(sum(K.squared_norm(group.gradients) for group in self.groups))

    def step(self, learning_rate: float, *, scale: float = 1.0) -> None:
        """Update all parameters, with every gradient multiplied by `scale` (see `clip_scale`)."""
        self.steps += 1
        for group, buffers in zip(self.groups, self.buffers, strict=True):
            group.collect()
            self._update(group, buffers, float(learning_rate) * group.rate, float(scale))

    def _new_buffers(self, group: ParameterGroup) -> dict[str, np.ndarray]:
        return {name: np.zeros_like(group.data) for name in self.buffer_names}

    def _update(
        self, group: ParameterGroup, buffers: dict[str, np.ndarray], learning_rate: float, scale: float
    ) -> None:
        raise TypeError(f"{type(self).__name__} defines no update")

    def state_dict(self) -> dict[str, np.ndarray]:
        """The step count and the buffers by name: the arrays themselves, not copies."""
        state = {"steps": np.array([self.steps])}
        for number, buffers in enumerate(self.buffers):
            state |= {f"{number}.{name}": buffer for name, buffer in buffers.items()}
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over a state saved from the same kind of optimizer over the same parameters."""
        expected = {name: array.shape for name, array in self.state_dict().items()}
        received = {name: array.shape for name, array in state.items()}
        if expected != received:
            raise TinylmError(
                f"{type(self).__name__}: the saved state does not fit: expected {expected}, received {received}"
            )
        self.steps = int(state["steps"][0])
        for number, buffers in enumerate(self.buffers):
            for name, buffer in buffers.items():
                buffer[...] = state[f"{number}.{name}"]


def check_shares(optimizer: Optimizer, **shares: float) -> None:
    """Raise ValueError where one of these is no share: 0 <= share < 1."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{type(optimizer).__name__}: {name} is {share}, expected 0 <= {name} < 1")


def clip_scale(norm: float, max_norm: float | None) -> float:
    """The factor that brings gradients of this norm down to max_norm, at most 1; 1 where max_norm is None.

    The 1e-6 is PyTorch's, so that curves can be compared. Source: Pascanu et al. 2013, arXiv:1211.5063.
    """
    return 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))
