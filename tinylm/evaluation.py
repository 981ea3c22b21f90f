"""Several models measured on the same data: figures, how far they can be trusted, and which model is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from tinylm.data import Progress
from tinylm.errors import TinylmError
from tinylm.lm import load
from tinylm.metrics import Comparison, Interval, Scores, higher_is_better

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """scores: of each model by the name it was given under, in order. seed, resamples: of the bootstrap."""

    scores: Mapping[str, Scores]
    seed: int = 0
    resamples: int = 1000

    def intervals(self) -> dict[str, dict[str, Interval]]:
        """Each model's figures with the bounds of 95 % of the draws."""
        return {
            name: scores.intervals(seed=self.seed, resamples=self.resamples) for name, scores in self.scores.items()
        }

    def comparisons(self) -> dict[str, dict[str, Comparison]]:
        """Of every model but the first, its figures minus the first one's on the same examples.

        Models that were measured on other examples are left out, such as windows of another tokenizer's tokens.
        """
        (first, *others) = self.scores
        return {
            name: self.scores[name].compare(self.scores[first], seed=self.seed, resamples=self.resamples)
            for name in others
            if self.scores[name].pairs_with(self.scores[first])
        }

    def best(self, figure: str) -> str:
        """The name of the model that has the best value; the first of several."""
        values = {name: scores.result().get(figure, math.nan) for name, scores in self.scores.items()}
        sign = 1 if higher_is_better(figure) else -1
        return max(values, key=lambda name: -math.inf if math.isnan(values[name]) else sign * values[name])

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON takes it; what is undefined is null."""
        models = [
            {
                "model": name,
                "examples": len(self.scores[name]),
                "metrics": {figure: _number(interval.value) for figure, interval in figures.items()},
                "intervals": {figure: [_number(i.low), _number(i.high)] for figure, i in figures.items()},
            }
            for name, figures in self.intervals().items()
        ]
        against = {
            name: {figure: _numbers(found) for figure, found in figures.items()}
            for name, figures in self.comparisons().items()
        }
        draws = {"seed": self.seed, "resamples": self.resamples, "confidence": 0.95}
        return {"models": models, "against_the_first": against, "bootstrap": draws}


def evaluate(
    models: Sequence[str | PathLike[str]],
    data: Sequence[str | PathLike[str]],
    *,
    seed: int = 0,
    resamples: int = 1000,
    progress: Progress | None = None,
    notify: Callable[[str], None] = lambda message: None,
    **settings: Any,
) -> Evaluation:
    """Measure each model on the data. settings: those of `LM.measure`; notify: told of each model before its turn."""
    names = [str(model) for model in models]
    if not names or len(set(names)) < len(names):
        raise TinylmError(f"evaluate: expected models, each once, received {', '.join(names) or 'none'}")
    scores = {}
    for name, model in zip(names, models, strict=True):
        notify(f"measuring {name}")
        scores[name] = load(model).measure(data, progress=progress, **settings)
    return Evaluation(scores, seed, resamples)


def _numbers(found: Comparison) -> dict[str, float | None]:
    return {part: _number(value) for part, value in asdict(found).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
