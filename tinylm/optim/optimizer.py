"""What all optimizers share: groups of parameters in flat buffers, the gradient's norm, and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Parameter
from tinylm.errors import TinylmError
from tinylm.nn import Module

__all__ = ["Optimizer", "ParameterGroup", "clip_scale", "parameter_groups"]


class ParameterGroup:
    """Parameters that are updated with the same settings.

    They move into one flat buffer, and their gradients into another, so that an update is one pass over memory.
    Each parameter's `data` becomes a view, and the backward pass writes into the view that is its gradient_buffer.
    """

    def __init__(self, parameters: Iterable[Parameter], *, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        dtypes = {p.dtype for p in self.parameters}
        if len(dtypes) != 1:
            raise ValueError(f"a parameter group needs parameters of one dtype, received {sorted(map(str, dtypes))}")
        size = sum(p.size for p in self.parameters)
        self.data = np.empty(size, dtypes.pop())
        self.gradients = np.zeros_like(self.data)
        start = 0
        for p in self.parameters:
            end = start + p.size
            view = self.data[start:end].reshape(p.shape)
            view[...] = p.data
            p.data, p.grad = view, None
            p.gradient_buffer = self.gradients[start:end].reshape(p.shape)
            start = end

    def collect(self) -> None:
        """See that every gradient lies in the flat buffer; a parameter that got none counts as zero."""
        for p in self.parameters:
            if p.grad is None:
                p.gradient_buffer[...] = 0
            elif p.grad is not p.gradient_buffer:
                p.gradient_buffer[...] = p.grad
            p.grad = p.gradient_buffer


def parameter_groups(model: Module, weight_decay: float) -> list[ParameterGroup]:
    """Two groups: matrices and embeddings decay, vectors (biases and the weights of norms) do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    groups = []
    if matrices:
        groups.append(ParameterGroup(matrices, weight_decay=weight_decay))
    if vectors:
        groups.append(ParameterGroup(vectors))
    return groups


class Optimizer:
    """Updates groups of parameters from their gradients. Subclasses name their buffers and define `_update`.

    parameters: groups, or parameters, which make one group without weight decay.
    """

    buffer_names: Sequence[str] = ()

    def __init__(self, parameters: Iterable[ParameterGroup] | Iterable[Parameter]):
        given = list(parameters)
        if not given:
            raise ValueError(f"{type(self).__name__} received no parameters")
        self.groups = [g for g in given if isinstance(g, ParameterGroup)]
        if loose := [p for p in given if isinstance(p, Parameter)]:
            self.groups.append(ParameterGroup(loose))
        self.buffers = [{name: np.zeros_like(g.data) for name in self.buffer_names} for g in self.groups]
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
            self._update(group, buffers, learning_rate, scale)

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


def clip_scale(norm: float, max_norm: float | None) -> float:
    """The factor that brings gradients of this norm down to max_norm, at most 1; 1 where max_norm is None.

    The 1e-6 is PyTorch's, so that curves can be compared. Source: Pascanu et al. 2013, arXiv:1211.5063.
    """
    return 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))
