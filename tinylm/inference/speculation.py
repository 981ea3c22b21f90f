"""Speculative decoding: guesses of the next tokens, which the model reads at once, and keeps as far as they are right.

A guess x, drawn with probability q(x), is accepted with probability min(1, p(x) / q(x)); the first one that is not is
replaced by a draw from max(p - q, 0). So each token has the model's own distribution p, whoever guesses.
Source: Leviathan et al. 2023, arXiv:2211.17192, algorithm 1; Chen et al. 2023, arXiv:2302.01318.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .reading import Reader, window_start
from .sampling import Sampler
from .writing import Writer

__all__ = ["DraftModel", "Drafter", "Guess", "PromptLookup", "speculate"]


@dataclass(frozen=True)
class Guess:
    """A token that may come next, and the probabilities (V,) that it was drawn with; None where it was certain."""

    token: int
    probabilities: np.ndarray | None = None


class Drafter(Protocol):
    """Guesses how a sequence goes on."""

    def guess(self, writer: Writer, most: int) -> list[Guess]:
        """At most `most` tokens after those of the writer."""


class PromptLookup:
    """What followed the last tokens where they stood before: for texts that repeat their prompt.

    longest: how many last tokens are looked for, fewer where they do not stand elsewhere; most: how many are guessed.
    Source: Saxena 2023, "Prompt lookup decoding".
    """

    def __init__(self, longest: int = 3, most: int = 8):
        self.longest, self.most = longest, most

    def guess(self, writer: Writer, most: int) -> list[Guess]:
        ids = np.asarray(writer.ids)
        for size in range(min(self.longest, len(ids) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(ids[:-1], size)
            found = np.flatnonzero((windows == ids[len(ids) - size :]).all(axis=1))
            if len(found):
                start = int(found[-1]) + size
                return [Guess(int(token)) for token in ids[start : start + min(most, self.most)]]
        return []


class DraftModel:
    """A smaller model with the same vocabulary writes ahead, with the settings of the text. most: how many tokens."""

    def __init__(self, reader: Reader, *, most: int = 4):
        self._reader, self.most = reader, most

    def guess(self, writer: Writer, most: int) -> list[Guess]:
        ids, guesses = list(writer.ids), []
        sampler = Sampler(writer.settings, choice=len(ids))
        for _ in range(min(most, self.most)):
            p = sampler.distribution(self._reader.logits(ids)[-1], ids, writer.prompt)
            ids.append(sampler.draw(p))
            guesses.append(Guess(ids[-1], p))
        return guesses


def speculate(reader: Reader, writer: Writer, drafter: Drafter) -> Iterator[str]:
    """The pieces of a text as `Writer.take` gives them, several at a time where guesses are right."""
    while writer.finish_reason is None:
        guesses = drafter.guess(writer, _room(reader, writer))
        ids = [*writer.ids, *(guess.token for guess in guesses)]
        rows = reader.logits(ids, len(guesses) + 1)
        for logits, guess in zip(rows, guesses, strict=False):
            token, before = _verified(writer, writer.distribution(logits), guess), len(writer.ids)
            yield writer.append(token, logits)
            if token != guess.token:
                break
            writer.accepted += len(writer.ids) - before  # none for a token that ends the text
            if writer.finish_reason is not None:
                break
        else:
            yield writer.take(rows[-1])


def _room(reader: Reader, writer: Writer) -> int:
    """How many guesses fit into the text, and into the window of the model that the next token is read in."""
    context, length = reader.model.context, len(writer.ids)
    left = writer.prompt + writer.settings.max_tokens - length - 1
    if context is None:
        return left
    return min(left, window_start(length, context) + context - length)


def _verified(writer: Writer, p: np.ndarray, guess: Guess) -> int:
    """The guessed token, or the one that takes its place; p: what the model would draw from."""
    q = 1.0 if guess.probabilities is None else guess.probabilities[guess.token]
    if writer.sampler.accepts(p[guess.token] / q):
        return guess.token
    rest = p.copy()
    if guess.probabilities is None:
        rest[guess.token] = 0
    else:
        rest = np.maximum(p - guess.probabilities, 0)
    return writer.sampler.draw(rest if rest.any() else p)
