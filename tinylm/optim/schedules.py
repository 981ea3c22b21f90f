"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from tinylm.errors import TinylmError

__all__ = ["SCHEDULES", "Schedule", "make_schedule"]

# From the share of the run that lies behind, 0 to 1, to the share of the way from the peak to the final rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 0.0,
    "linear": lambda done: done,
    "cosine": lambda done: 0.5 * (1 - math.cos(math.pi * done)),  # Loshchilov and Hutter 2017, arXiv:1608.03983
}
Schedule = Callable[[int], float]


def make_schedule(name: str, *, peak: float, final: float = 0.0, warmup: int = 0, steps: int) -> Schedule:
    """A function from the step, counted from 0, to the learning rate.

    It rises linearly to `peak` over the first `warmup` steps, then goes to `final` at step `steps` by the shape that
    `name` says. Raises TinylmError for an unknown name or a warm-up longer than the run.
    """
    if name not in SCHEDULES:
        raise TinylmError(f"unknown schedule {name!r}; there are {', '.join(SCHEDULES)}")
    if warmup > steps:
        raise TinylmError(f"a warm-up of {warmup} steps does not fit into a run of {steps}")
    shape = SCHEDULES[name]

    def rate(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / (warmup + 1)
        done = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return peak + shape(done) * (final - peak)

    return rate
