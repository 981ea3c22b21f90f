"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tinylm.errors import TinylmError, nearest

__all__ = ["DECAY_SHAPES", "SCHEDULES", "Schedule", "make_schedule"]

Schedule = Callable[[int], float]

# From the share of a stretch that lies behind, 0 to 1, to the share of the change that is done, 0 to 1.
DECAY_SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: done,
    "cosine": lambda done: 0.5 * (1 - math.cos(math.pi * done)),  # Loshchilov and Hutter 2017, arXiv:1608.03983
    "1-sqrt": lambda done: math.sqrt(done),  # what is left is 1 - sqrt(done): Hägele et al. 2024, arXiv:2405.18392
}


@dataclass(frozen=True)
class _Run:
    """What a schedule depends on besides the step."""

    warmup: int
    steps: int
    decay_share: float
    decay_shape: str
    power: float

    def done(self, step: int) -> float:
        """The share of the steps after the warm-up that lies behind."""
        return min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)

    @property
    def decay_steps(self) -> int:
        return round(self.decay_share * self.steps)


def _warmup_stable_decay(step: int, run: _Run) -> float:
    """Source: Hu et al. 2024, arXiv:2404.06395, section 4."""
    into = step - (run.steps - run.decay_steps)
    return DECAY_SHAPES[run.decay_shape](min(into / max(run.decay_steps, 1), 1.0)) if into > 0 else 0.0


def _inverse_square_root(step: int, run: _Run) -> float:
    """What is left falls like 1 / sqrt(step), from 1 at the end of the warm-up. Source: Vaswani et al. 2017, eq. 3."""
    scale = max(run.warmup, 1)
    return 1 - math.sqrt(scale / (step - run.warmup + scale))


# From the step, at least the warm-up's, and the run to the share of the way from the peak to the final rate.
SCHEDULES: dict[str, Callable[[int, _Run], float]] = {
    "constant": lambda step, run: 0.0,
    "linear": lambda step, run: run.done(step),
    "cosine": lambda step, run: DECAY_SHAPES["cosine"](run.done(step)),
    "polynomial": lambda step, run: 1 - (1 - run.done(step)) ** run.power,
    "inverse_sqrt": _inverse_square_root,
    "wsd": _warmup_stable_decay,
    "one_cycle": lambda step, run: DECAY_SHAPES["cosine"](run.done(step)),
}


def _rise(name: str, step: int, warmup: int) -> float:
    """The share of the peak at a step of the warm-up.

    One cycle starts at 1/25, as in PyTorch, and rises by a cosine. Source: Smith and Topin 2018, arXiv:1708.07120.
    """
    if name == "one_cycle":
        return 1 / 25 + (1 - 1 / 25) * DECAY_SHAPES["cosine"](step / warmup)
    return (step + 1) / (warmup + 1)


def make_schedule(
    name: str,
    *,
    peak: float,
    final: float = 0.0,
    warmup: int = 0,
    steps: int,
    decay_share: float = 0.2,
    decay_shape: str = "1-sqrt",
    power: float = 2.0,
) -> Schedule:
    """A function from the step, counted from 0, to the learning rate.

    It rises to `peak` over the first `warmup` steps, then goes to `final` at step `steps` by the shape that `name`
    says: "inverse_sqrt" gets nearer and nearer to it, "constant" stays. "wsd" (warm-up, stable, decay) stays at the
    peak but for the last `decay_share` of all steps, and falls by `decay_shape`. Of "polynomial", (1 - done)^power is
    left.
    Raises TinylmError for an unknown name or stretches longer than the run.
    """
    if name not in SCHEDULES:
        raise TinylmError(f"there is no schedule {name!r}{nearest(name, SCHEDULES)}")
    if decay_shape not in DECAY_SHAPES:
        raise TinylmError(f"there is no decay shape {decay_shape!r}{nearest(decay_shape, DECAY_SHAPES)}")
    if warmup > steps:
        raise TinylmError(f"a warm-up of {warmup} steps does not fit into a run of {steps}")
    run = _Run(warmup, steps, decay_share, decay_shape, power)
    if name == "wsd" and warmup + run.decay_steps > steps:
        raise TinylmError(
            f"a warm-up of {warmup} steps and a decay of {run.decay_steps} do not fit into a run of {steps}"
        )
    share = SCHEDULES[name]

    def rate(step: int) -> float:
        if step < warmup:
            return peak * _rise(name, step, warmup)
        done = share(step, run)
        return (1 - done) * peak + done * final

    return rate
