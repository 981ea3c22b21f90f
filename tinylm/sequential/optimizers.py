"""Optimizers as frozen descriptions, with Keras' names, defaults and formulas; `build` makes one of tinylm.optim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinylm import optim
from tinylm.autograd import Parameter
from tinylm.errors import TinylmError

from .registry import Registry

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop", "get"]

Rate = float | Callable[[int], float]


@dataclass(frozen=True)
class Optimizer(ABC):
    """learning_rate: a number, or a function of the step, counted from 0.

    weight_decay: the share of lr that each weight loses at a step, apart from the gradient; None for none.

    global_clipnorm: the largest norm of all gradients together; None for no limit.
    """

    learning_rate: Rate = 0.001
    weight_decay: float | None = field(default=None, kw_only=True)
    global_clipnorm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not callable(self.learning_rate) and not self.learning_rate > 0:
            raise TinylmError(f"{kind}: learning_rate is {self.learning_rate}, expected more than 0")
        if self.weight_decay is not None and not self.weight_decay >= 0:
            raise TinylmError(f"{kind}: weight_decay is {self.weight_decay}, expected 0 or more")
        if self.global_clipnorm is not None and not self.global_clipnorm > 0:
            raise TinylmError(f"{kind}: global_clipnorm is {self.global_clipnorm}, expected more than 0")

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate

    def build(self, parameters: Sequence[Parameter]) -> optim.Optimizer:
        """The optimizer over these parameters. Raises TinylmError for a setting outside its range."""
        group = optim.ParameterGroup(parameters, weight_decay=self.weight_decay or 0.0)
        try:
            return self._make([group])
        except ValueError as error:
            raise TinylmError(str(error)) from None

    @abstractmethod
    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        """The optimizer of tinylm.optim in Keras' form."""


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with momentum; see `tinylm.optim.SGD`."""

    learning_rate: Rate = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        return optim.SGD(groups, momentum=self.momentum, nesterov=self.nesterov, rate_in_velocity=True, decoupled=True)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """The gradient, divided by a running mean of its magnitude; see `tinylm.optim.RMSprop`."""

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        return optim.RMSprop(
            groups,
            decay=self.rho,
            momentum=self.momentum,
            centered=self.centered,
            eps=self.epsilon,
            eps_inside_root=True,
            rate_in_velocity=True,
            decoupled=True,
        )


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """The gradient, divided by the root of the sum of all its squares; see `tinylm.optim.Adagrad`."""

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        initial = self.initial_accumulator_value
        return optim.Adagrad(groups, initial=initial, eps=self.epsilon, eps_inside_root=True, decoupled=True)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Running means of the gradient and of its square; see `tinylm.optim.Adam`. Its weight decay is AdamW's."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        return optim.AdamW(groups, betas=(self.beta_1, self.beta_2), eps=self.epsilon, eps_hat=True)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with a weight decay from the start."""

    weight_decay: float | None = field(default=0.004, kw_only=True)


@dataclass(frozen=True)
class Lion(Optimizer):
    """The sign of a momentum; see `tinylm.optim.Lion`."""

    beta_1: float = 0.9
    beta_2: float = 0.99

    def _make(self, groups: list[optim.ParameterGroup]) -> optim.Optimizer:
        return optim.Lion(groups, betas=(self.beta_1, self.beta_2))


OPTIMIZERS = Registry(
    "optimizer", {"sgd": SGD, "rmsprop": RMSprop, "adagrad": Adagrad, "adam": Adam, "adamw": AdamW, "lion": Lion}
)


def get(identifier: Any) -> Optimizer:
    """An optimizer from its name, a class or an instance."""
    return OPTIMIZERS.get(identifier, Optimizer)
