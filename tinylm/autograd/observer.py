"""Seeing every operation: name, place in the model, inputs, outputs and, later, the gradients.

Tracing, profiling and attention maps stand on this. Nothing is recorded and nothing is paid while no observer is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Observer", "Operation", "at_path", "current_observer", "current_path", "observe"]


@dataclass
class Operation:
    """One differentiable operation as it ran.

    name: the function's name; path: the attribute path of the module it ran in ("blocks.0.attention"), empty
    outside of modules; inputs, outputs: the arrays themselves, not copies; settings: its keyword arguments; gradients:
    by the outputs, filled before `Observer.backward` is called.
    """

    name: str
    path: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    observer: Observer
    settings: dict[str, Any] = field(default_factory=dict)
    gradients: tuple[Any, ...] = ()


class Observer:
    """Base class: override what you want to see."""

    def forward(self, operation: Operation) -> None:
        """Called after each differentiable operation."""

    def backward(self, operation: Operation) -> None:
        """Called in the backward pass for each operation seen going forward, once its gradients are complete."""


_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
_path: ContextVar[str | None] = ContextVar("path of the running module", default=None)

current_observer = _observer.get
current_path = _path.get


@contextmanager
def observe(observer: Observer) -> Iterator[Observer]:
    """Within the block, `observer` sees every differentiable operation of this thread or task."""
    token = _observer.set(observer)
    try:
        yield observer
    finally:
        _observer.reset(token)


@contextmanager
def at_path(path: str) -> Iterator[None]:
    """Within the block, operations carry `path`; a model has the empty path, outside of models it is None."""
    token = _path.set(path)
    try:
        yield
    finally:
        _path.reset(token)
