"""Choosing the next token from the logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

from . import logits as steps

__all__ = ["Sampler", "Sampling"]

# What each setting may be, and how to say so.
RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda value: 0 <= value < np.inf, "0 or more"),
    "top_k": (lambda value: value >= 1 and value == int(value), "at least 1"),
    "top_p": (lambda value: 0 < value <= 1, "0 < p <= 1"),
    "min_p": (lambda value: 0 <= value <= 1, "0 <= p <= 1"),
    "typical_p": (lambda value: 0 < value <= 1, "0 < p <= 1"),
    "repetition_penalty": (lambda value: 0 < value < np.inf, "more than 0"),
    "presence_penalty": (lambda value: -np.inf < value < np.inf, "a number"),
    "frequency_penalty": (lambda value: -np.inf < value < np.inf, "a number"),
    "logit_bias": (
        lambda bias: all(id >= 0 and number < np.inf for id, number in bias.items()),
        "numbers by the ids of tokens",
    ),
    "seed": (lambda value: value >= 0 and value == int(value), "0 or more"),
}
MAY_BE_NONE = ("top_k", "top_p", "min_p", "typical_p", "seed")


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; what is left as it is changes nothing. Applied in this order:

    logit_bias: a number to add to the logit of a token, by its id; -inf forbids it.
    repetition_penalty: makes the tokens so far, the prompt's as well, less likely where it is above 1.
    presence_penalty, frequency_penalty: taken from the logit of a token that was generated, once and each time.
    temperature: divides the logits; 0 takes the likeliest token, and nothing below applies.
    top_k: only the k likeliest may be drawn. top_p: only the fewest likeliest that reach this probability.
    min_p: only those at least so many times as likely as the likeliest. typical_p: only the fewest that reach this
    probability, those first that tell about as much as is to be expected.
    seed: the same seed draws the same tokens.

    Raises TinylmError for values outside their range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, (fits, expected) in RANGES.items():
            if (value := getattr(self, name)) is not None or name not in MAY_BE_NONE:
                _check(name, value, fits, expected)

    def penalized(self, logits: np.ndarray, ids: Sequence[int] = (), prompt: int = 0) -> np.ndarray:
        """The logits (V,) float64 with bias and penalties. ids: all tokens so far, `prompt` of them the prompt's."""
        changed = np.asarray(logits, np.float64)
        if self.logit_bias:
            if unknown := [id for id in self.logit_bias if id >= len(changed)]:
                raise TinylmError(f"logit_bias names token {unknown[0]}, expected one of 0..{len(changed) - 1}")
            changed = steps.add_bias(changed, self.logit_bias)
        if self.repetition_penalty != 1:
            changed = steps.penalize_repetition(changed, ids, self.repetition_penalty)
        if self.presence_penalty or self.frequency_penalty:
            changed = steps.penalize_presence(changed, ids[prompt:], self.presence_penalty, self.frequency_penalty)
        return changed

    def distribution(self, logits: np.ndarray, ids: Sequence[int] = (), prompt: int = 0) -> np.ndarray:
        """The probabilities (V,) that a token is drawn with; at temperature 0, 1 for the likeliest."""
        changed = self.penalized(logits, ids, prompt)
        if self.temperature == 0:
            certain = np.zeros_like(changed)
            certain[np.argmax(changed)] = 1
            return certain
        changed = changed / self.temperature
        if self.top_k is not None:
            changed = steps.keep_top_k(changed, self.top_k)
        if self.top_p is not None:
            changed = steps.keep_top_p(changed, self.top_p)
        if self.min_p:
            changed = steps.keep_min_p(changed, self.min_p)
        if self.typical_p is not None and self.typical_p < 1:
            changed = steps.keep_typical(changed, self.typical_p)
        return steps.probabilities(changed)


class Sampler:
    """Draws tokens as a `Sampling` says, which may be given by its fields: `Sampler(temperature=0.8, seed=1)`.

    choice: which of several continuations of one prompt this is: each has random numbers of its own.
    """

    def __init__(self, sampling: Sampling | None = None, *, choice: int = 0, **settings: Any):
        self.sampling = sampling or Sampling(**settings)
        seed = self.sampling.seed
        self._rng = np.random.default_rng([seed, choice] if choice and seed is not None else seed)

    def __call__(self, logits: np.ndarray, ids: Sequence[int] = (), prompt: int = 0) -> int:
        """A token for logits (V,). ids: all tokens so far, `prompt` of them the prompt's."""
        if self.sampling.temperature == 0:
            return int(np.argmax(self.sampling.penalized(logits, ids, prompt)))
        return self.draw(self.distribution(logits, ids, prompt))

    def distribution(self, logits: np.ndarray, ids: Sequence[int] = (), prompt: int = 0) -> np.ndarray:
        """`Sampling.distribution`."""
        return self.sampling.distribution(logits, ids, prompt)

    def draw(self, p: np.ndarray) -> int:
        """A token with these probabilities (V,); they may have any positive sum."""
        sums = np.cumsum(p)
        drawn = int(np.searchsorted(sums, self._rng.random() * sums[-1], side="right"))
        return drawn if drawn < len(p) else int(np.flatnonzero(p)[-1])

    def accepts(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._rng.random() < probability)


def _check(name: str, value: Any, fits: Callable[[Any], bool], expected: str) -> None:
    try:
        good = fits(value)
    except (TypeError, AttributeError):
        good = False
    if not good:
        raise TinylmError(f"{name} is {value!r}, expected {expected}")
