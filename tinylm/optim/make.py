"""The optimizers by name, with settings that mean the same for all of them where they mean anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinylm.errors import TinylmError, nearest
from tinylm.nn import Module

from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .combined import muon_with_adamw
from .lion import Lion
from .optimizer import Optimizer, ParameterGroup, parameter_groups
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["OPTIMIZERS", "make_optimizer"]


@dataclass(frozen=True)
class _Wanted:
    model: Module
    weight_decay: float
    betas: tuple[float, float]
    eps: float

    @property
    def groups(self) -> list[ParameterGroup]:
        return parameter_groups(self.model, self.weight_decay)


OPTIMIZERS: dict[str, Callable[[_Wanted], Optimizer]] = {
    "adamw": lambda w: AdamW(w.groups, betas=w.betas, eps=w.eps),
    "adam": lambda w: Adam(w.groups, betas=w.betas, eps=w.eps),
    "lion": lambda w: Lion(w.groups, betas=w.betas),
    "muon": lambda w: muon_with_adamw(w.model, w.weight_decay, betas=w.betas, eps=w.eps),
    "adafactor": lambda w: Adafactor(w.groups),
    "rmsprop": lambda w: RMSprop(w.groups, decay=w.betas[1], eps=w.eps),
    "adagrad": lambda w: Adagrad(w.groups, eps=w.eps),
    "sgd": lambda w: SGD(w.groups, momentum=w.betas[0]),
}


def make_optimizer(
    name: str, model: Module, *, weight_decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.99, eps: float = 1e-8
) -> Optimizer:
    """An optimizer of all trained parameters of a model; matrices and embeddings decay.

    beta1: how much stays of the running mean of gradients at a step (adamw, adam, lion, muon); the momentum of sgd.
    beta2: how much stays of the mean of their squares (adamw, adam, rmsprop, muon's AdamW); of lion's momentum.
    eps: added to the roots that adamw, adam, muon's AdamW, rmsprop and adagrad divide by.
    weight_decay: shrinks the parameter by itself, but joins the gradient in adam, rmsprop, adagrad and sgd.
    Raises TinylmError for an unknown name, with the nearest.
    """
    if name not in OPTIMIZERS:
        raise TinylmError(f"there is no optimizer {name!r}{nearest(name, OPTIMIZERS)}")
    return OPTIMIZERS[name](_Wanted(model, weight_decay, (beta1, beta2), eps))
