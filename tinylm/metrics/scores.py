"""What every metric gives: a row for each example, from which figures, their intervals and comparisons follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from ..errors import TinylmError

__all__ = ["Comparison", "Figures", "Interval", "Scores", "check_lengths", "references_of"]

Figures = Callable[[np.ndarray], dict[str, float]]


@dataclass(frozen=True)
class Interval:
    """A figure, and between which bounds it lies with a given confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """How much the first of two models is above the second, with bounds; p: how likely as much is by chance alone."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Together:
    """The figures of several metrics of the same examples, whose rows stand side by side. widths: columns of each."""

    parts: tuple[Figures, ...]
    widths: tuple[int, ...]

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        own = np.split(rows, np.cumsum(self.widths)[:-1], axis=1)
        return {
            name: value for figures, part in zip(self.parts, own, strict=True) for name, value in figures(part).items()
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """What N examples contribute to some figures, and how these follow from any selection of the examples.

    rows: (N, K) float64, a row for each example, in the order in which they came. figures: makes named numbers of rows
    (M, K); two Scores can be joined where theirs are equal. examples: says what the examples are, where those of two
    models need not be the same, such as windows of tokens.
    """

    rows: np.ndarray
    figures: Figures
    examples: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: Scores) -> Scores:
        """Those of both together: batch after batch gives the same as all at once."""
        if self.figures != other.figures:
            raise TinylmError(f"scores of two kinds cannot be joined: {self.figures} and {other.figures}")
        return Scores(np.concatenate([self.rows, other.rows]), self.figures, self.examples)

    def __or__(self, other: Scores) -> Scores:
        """The figures of two metrics on the same examples."""
        if len(self) != len(other):
            raise TinylmError(f"two metrics of the same examples, received {len(self)} and {len(other)}")
        figures = Together((self.figures, other.figures), (self.rows.shape[1], other.rows.shape[1]))
        return Scores(np.concatenate([self.rows, other.rows], axis=1), figures, self.examples)

    def result(self) -> dict[str, float]:
        """The figures of all examples, by name."""
        if not len(self):
            raise TinylmError("no examples: nothing to measure")
        return self.figures(self.rows)

    def intervals(self, *, seed: int = 0, resamples: int = 1000, confidence: float = 0.95) -> dict[str, Interval]:
        """The figures with their percentile bootstrap intervals: examples are drawn anew, with replacement.

        Of a single example nothing can be said: its bounds are nan. Source: Efron 1979, doi:10.1214/aos/1176344552.
        """
        _check_bootstrap(seed, resamples, confidence)
        if len(self) == 1:
            return {name: Interval(value, math.nan, math.nan) for name, value in self.result().items()}
        drawn = _stack(self.figures(self.rows[chosen]) for chosen in _draws(len(self), seed, resamples))
        return {name: Interval(value, *_bounds(drawn[name], confidence)) for name, value in self.result().items()}

    def pairs_with(self, other: Scores) -> bool:
        """Whether both are of the same examples and figures, as far as can be told."""
        return len(self) == len(other) and self.figures == other.figures and self.examples == other.examples

    def compare(
        self, other: Scores, *, seed: int = 0, resamples: int = 1000, confidence: float = 0.95
    ) -> dict[str, Comparison]:
        """This model's figures minus another's on the same examples, by the paired bootstrap.

        p: the share of draws whose difference is as far from their mean as the measured one is from 0, two-sided.
        Source: Koehn 2004, "Statistical significance tests for machine translation evaluation"; p as sacrebleu has it.
        """
        _check_bootstrap(seed, resamples, confidence)
        if not self.pairs_with(other):
            raise TinylmError(
                f"two models are compared on the same examples and figures; received {len(self)} and {len(other)} "
                f"examples of {self.figures} and {other.figures}"
            )
        mine, theirs = self.result(), other.result()
        pairs = ((self.rows[chosen], other.rows[chosen]) for chosen in _draws(len(self), seed, resamples))
        drawn = _stack(_minus(self.figures(a), self.figures(b)) for a, b in pairs)
        return {
            name: _comparison(difference, drawn[name], confidence) for name, difference in _minus(mine, theirs).items()
        }


def _check_bootstrap(seed: int, resamples: int, confidence: float) -> None:
    if seed < 0 or resamples < 1 or not 0 < confidence < 1:
        raise TinylmError(
            f"a bootstrap takes a seed of at least 0, resamples and 0 < confidence < 1, received {seed}, {resamples} "
            f"and {confidence}"
        )


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Indices of `count` examples drawn with replacement, again and again; the same for the same seed."""
    random = np.random.Generator(np.random.Philox(seed))
    for _ in range(resamples):
        yield random.integers(0, count, count)


def _stack(results: Iterator[dict[str, float]]) -> dict[str, np.ndarray]:
    """Each figure of all draws; nan where a draw lacks it."""
    found = list(results)
    names = dict.fromkeys(name for result in found for name in result)
    return {name: np.array([result.get(name, np.nan) for result in found]) for name in names}


def _minus(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {name: a[name] - b[name] for name in a if name in b}


def _bounds(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """nan, where a draw leaves a figure undefined, is left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _comparison(difference: float, drawn: np.ndarray, confidence: float) -> Comparison:
    as_far = int((np.abs(drawn - np.nanmean(drawn)) >= abs(difference)).sum())
    return Comparison(difference, *_bounds(drawn, confidence), (as_far + 1) / (len(drawn) + 1))


def check_lengths(metric: str, predictions: Sized, references: Sized) -> None:
    """Raise where a text stands in the place of a sequence of them, or counts differ."""
    if isinstance(predictions, str) or isinstance(references, str):
        raise TypeError(f"{metric}: expected a sequence of predictions and one of references, received a single text")
    if len(predictions) != len(references):
        raise TinylmError(f"{metric}: {len(predictions)} predictions for {len(references)} references")


def references_of(given: str | Sequence[str]) -> list[str]:
    """The references of one example: a text is the only one."""
    return [given] if isinstance(given, str) else list(given)
