"""What tasks share in which a model tells what is hidden in windows of a text."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tinylm.data import IGNORE, LanguageModelBatches, TokenSplit
from tinylm.metrics import Scores, language

from .text import Source, TextSettings, draw_batches

__all__ = ["HiddenTokens", "window_settings"]

VALIDATION_ROWS = 32  # windows at a time


def window_settings(settings: TextSettings) -> dict[str, Any]:
    """The settings of a run that `HiddenTokens` takes."""
    return {name: getattr(settings, name) for name in ("batch_size", "context", "seed", "label_smoothing")}


class HiddenTokens(ABC):
    """The task (see `tinylm.training.Task`): a batch is some windows of a text, what is hidden in them its last array.

    context: tokens of a window, those among them that the subclass puts around the text being `special`. Validation
    hides the same tokens each time, whatever the seed.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int,
        context: int,
        special: int = 0,
        seed: int = 0,
        label_smoothing: float = 0.0,
    ):
        self.sources, self.batch_size, self.seed = tuple(sources), batch_size, seed
        self.room, self.label_smoothing = context - special, label_smoothing
        self._batches, _ = draw_batches(
            sources, LanguageModelBatches, batch_size=batch_size, context=self.room, seed=seed
        )

    @abstractmethod
    def hide(self, windows: np.ndarray, *, seed: int, step: int, first_row: int) -> tuple[np.ndarray, ...]:
        """What the model reads of windows (B, room) of a text, and last, what it shall say, IGNORE where nothing."""

    @abstractmethod
    def judge(self, model: Any, batch: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The losses in nats of what the model shall say, and whether it was the likeliest, both of its shape."""

    def batch(self, step: int, rows: slice) -> Any:
        windows, _ = self._batches.train_batch(step, rows)
        return self.hide(windows, seed=self.seed, step=step, first_row=rows.start or 0)

    def count(self, batch: tuple[np.ndarray, ...]) -> int:
        return int((batch[-1] != IGNORE).sum())

    def evaluate(self, model: Any) -> dict[str, float]:
        """Loss, perplexity and accuracy over the hidden tokens of all that is held out."""
        held_out = [source.validation for source in self.sources if len(source.validation) > self.room]
        if not held_out:
            return {}
        result = reduce(operator.add, (self.measure(model, split) for split in held_out)).result()
        return {name: result[name] for name in ("loss", "perplexity", "accuracy")}

    def measure(self, model: Any, split: TokenSplit) -> Scores:
        """A row for each whole window: what is left at the end of the split is no window."""
        found = []
        for batch in self._held_out(split):
            losses, correct = self.judge(model, batch)
            found.append(language(losses, correct, batch[-1] != IGNORE, np.zeros(losses.shape)))
        return reduce(operator.add, found)

    def _held_out(self, split: TokenSplit) -> Iterator[tuple[np.ndarray, ...]]:
        batches = LanguageModelBatches(split, batch_size=VALIDATION_ROWS, context=self.room, seed=0)
        for number, (windows, following) in enumerate(batches.validation_batches()):
            whole = windows[(following != IGNORE).all(axis=1)]
            if len(whole):
                yield self.hide(whole, seed=0, step=0, first_row=number * VALIDATION_ROWS)
