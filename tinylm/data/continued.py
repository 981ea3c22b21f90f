"""Batches for truncated backpropagation: each step goes on in the text where the step before ended."""

from __future__ import annotations

from ..errors import TinylmError
from .batches import LanguageModelBatches
from .tokens import TokenSplit

__all__ = ["ContinuedBatches"]


class ContinuedBatches(LanguageModelBatches):
    """Training batches in which each row reads a stretch of its own, window after window, and then again.

    The text is cut into one stretch for each row. What does not fill a window is left out, at the beginning or the end
    of the stretch, by chance, another part in each pass.
    """

    def __init__(self, split: TokenSplit, *, batch_size: int, context: int, seed: int):
        super().__init__(split, batch_size=batch_size, context=context, seed=seed)
        self._stretch = (len(split) - 1) // batch_size  # tokens of a row that have a target
        self.steps_per_pass = self._stretch // context
        if self.steps_per_pass == 0:
            raise TinylmError(
                f"a text of {len(split):,} tokens is too short for {batch_size} streams with a context of {context:,}; "
                f"give more text, or set a smaller batch (--set batch_size={(len(split) - 1) // context})"
            )

    def begins(self, step: int) -> bool:
        """Whether the rows of a step do not go on from the step before, but begin their stretches."""
        return step % self.steps_per_pass == 0

    def _start(self, step: int, row: int) -> int:
        number, window = divmod(step, self.steps_per_pass)
        spare = self._stretch - self.steps_per_pass * self.context
        return row * self._stretch + self._draw(number, row, spare + 1) + window * self.context
