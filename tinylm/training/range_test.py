"""The learning-rate range test: one short run whose rate rises until the loss blows up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from os import PathLike

import numpy as np

from tinylm.errors import TinylmError
from tinylm.extras import check_plot_file, import_extra

from .trainer import NonFiniteError, StepResult, Trainer

__all__ = ["RangeTest", "range_test"]

# The loss counts as blown up where the mean of so many steps is so many nats above its lowest.
WINDOW, MARGIN = 5, 1.0


@dataclass(frozen=True)
class RangeTest:
    """What came of a range test: the loss at each rate, from low to high. diverged: whether it ended by blowing up."""

    rates: np.ndarray
    losses: np.ndarray
    diverged: bool

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The losses, each averaged with its neighbours: weights fall linearly to zero a tenth of the range away."""
        places = np.arange(len(self.losses))
        weights = np.maximum(0, 1 - np.abs(places[:, None] - places) / max(0.1 * len(places), 1))
        return weights @ self.losses / weights.sum(axis=1)

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest, on a logarithmic axis, before its lowest point."""
        falling = self.smoothed[: self._lowest + 1]
        slopes = np.gradient(falling, np.log(self.rates[: self._lowest + 1]))
        return float(self.rates[slopes.argmin()])

    @property
    def lowest(self) -> float:
        """The rate at the lowest loss: about the first that is too high."""
        return float(self.rates[self._lowest])

    @property
    def suggested(self) -> float:
        """Half of the rate at the lowest loss: for the peak of a schedule that rises and falls (docs/optimizers.md)."""
        return self.lowest / 2

    @property
    def careful(self) -> float:
        """A tenth of the rate at the lowest loss: the usual advice for a rate that stays."""
        return self.lowest / 10

    @property
    def _lowest(self) -> int:
        lowest = int(self.smoothed.argmin())
        if lowest == 0:
            raise TinylmError(
                f"the loss did not fall between the rates {self.rates[0]:.1e} and {self.rates[-1]:.1e}: "
                "try lower ones, or more steps"
            )
        return lowest

    def save_plot(self, path: str | PathLike[str]) -> None:
        """Draw the curve into a PNG, SVG or PDF file. Raises TinylmError without matplotlib (extra "plot")."""
        check_plot_file(path)
        figure = import_extra("matplotlib.figure", "a plot").Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.semilogx(self.rates, self.losses, color="0.8", label="loss of each step")
        axes.semilogx(self.rates, self.smoothed, label="smoothed")
        for name, style in (("steepest", ":"), ("careful", "-."), ("suggested", "--")):
            rate = getattr(self, name)
            axes.axvline(rate, color="0.3", linestyle=style, label=f"{name}: {rate:.1e}")
        axes.set(xlabel="learning rate", ylabel="training loss, nats")
        axes.legend()
        figure.savefig(path)


def range_test(trainer: Trainer, *, lowest: float = 1e-6, highest: float = 1.0, steps: int = 100) -> RangeTest:
    """Take up to `steps` steps, whose rate rises from `lowest` to `highest` by the same factor each time.

    It ends early where the loss blows up. trainer: a new one; it, and its model, are of no use after this.
    Source: Smith 2017, "Cyclical learning rates for training neural networks", arXiv:1506.01186, section 3.3; the
    exponential rise is Howard and Gugger's (fast.ai).
    """
    if not 0 < lowest < highest or steps < 2:
        raise TinylmError(
            f"a range test takes rates 0 < lowest < highest and at least 2 steps, received {lowest}, {highest}, {steps}"
        )
    rates: list[float] = []
    losses: list[float] = []
    best = math.inf

    def record(trainer: Trainer, result: StepResult) -> None:
        nonlocal best
        rates.append(result.learning_rate)
        losses.append(result.loss)
        mean = sum(losses[-WINDOW:]) / len(losses[-WINDOW:])
        best = min(best, mean)
        if mean > best + MARGIN:
            trainer.stop("the loss has blown up")

    trainer.schedule = lambda step: lowest * (highest / lowest) ** (step / (steps - 1))
    trainer.steps = steps
    trainer.callbacks.append(record)
    try:
        trainer.run()
    except NonFiniteError:
        if len(losses) < 2:
            raise
        trainer.stop("the loss is not finite")
    return RangeTest(np.array(rates), np.array(losses), trainer.stopped is not None)
