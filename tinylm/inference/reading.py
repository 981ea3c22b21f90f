"""What a model says of a sequence of tokens that grows, reading none twice where it need not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .cache import DecodeCache
from .decoder import Decoder
from .engine import Engine

__all__ = ["Reader", "window_start"]


def window_start(length: int, context: int | None) -> int:
    """Where the model's view of `length` tokens begins when it can look at `context` of them.

    Up to the context, at 0. Beyond, the view jumps on by half a context at a time, so that a cache lasts for half a
    context of new tokens, and every token is predicted from at least half a context.
    """
    if context is None or length <= context:
        return 0
    stride = max(context // 2, 1)
    return -(-(length - context) // stride) * stride


class Reader:
    """The logits after a sequence of tokens, with a cache of the last sequence that was read.

    The sequence may go on from the last one, or leave it at any place: what both begin with is not computed again
    (a recurrent state cannot go back: there only what goes on). use_cache=False computes all each time.
    """

    def __init__(self, model: Decoder, *, use_cache: bool = True):
        self.model = model
        self._use_cache = use_cache
        self._cache: Any = None
        self._start = 0  # the place of the cache's first token
        self._read: list[int] = []  # the tokens in the cache

    def logits(self, ids: Sequence[int], count: int = 1) -> np.ndarray:
        """The logits (count, V) of the token after each of the last `count` tokens of ids, which may not be empty."""
        start = window_start(len(ids), self.model.context)
        window = list(ids[start:])
        count = min(count, len(window))
        if start == 0:
            self.recall(window[: len(window) - count])
        done = self._reuse(start, window, len(window) - count) if self._use_cache else 0
        self._read = window[:done]  # what the cache can be brought back to, should the model be interrupted
        logits = self.model.last_logits(np.asarray([window[done:]]), self._cache, count)[0]
        self._read = window
        return logits

    def recall(self, ids: Sequence[int]) -> int:
        """Begin with what the model has kept of a text that began like ids; returns how many tokens are known.

        Nothing is taken where this has read something, or where not all of ids lies in the model's view.
        """
        seen = window_start(len(ids) + 1, self.model.context) == 0
        if not isinstance(self.model, Engine) or not self._use_cache or self._cache is not None or not seen:
            return len(self._read)
        if (sequence := self.model.prefixes.take(ids)) is not None:
            self._cache, self._start = DecodeCache([sequence]), 0
            self._read = list(ids[: sequence.length])
        return len(self._read)

    def release(self) -> None:
        """Let the model keep what was read for texts that begin alike."""
        if isinstance(self.model, Engine) and self._cache is not None:
            self.model.prefixes.put(self._read, self._cache.sequences[0])
        self._cache, self._read = None, []

    @property
    def cache(self) -> Any:
        """What the model remembers of the last sequence."""
        return self._cache

    def _reuse(self, start: int, window: list[int], most: int) -> int:
        """Make the cache hold the tokens that the window begins with, `most` at most; returns how many."""
        done = min(len(self._read), most)
        if self._read[:done] != window[:done]:
            done = next(at for at in range(done) if self._read[at] != window[at])
        if self._cache is None or start != self._start or not self._cache.keep(done):
            self._cache, self._start, done = self.model.new_cache(1), start, 0
        return done
