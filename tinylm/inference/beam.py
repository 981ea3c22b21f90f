"""Beam search: the likeliest text among those that a few beams keep in view."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tinylm.errors import TinylmError

from .decoder import Decoder
from .logits import log_softmax

__all__ = ["BeamSettings", "Hypothesis", "beam_search", "force", "repeated_ngrams"]

# From the log-probabilities (V,) that may follow, all tokens so far and how many of them are new, to others.
Process = Callable[[np.ndarray, Sequence[int], int], np.ndarray]


@dataclass(frozen=True)
class BeamSettings:
    """beams: how many texts are kept in view. length_penalty: a finished text is worth the sum of its log-probabilities
    over its length to this power: above 0 favours long texts. early_stopping: True ends when as many texts as beams
    have finished, False when none that runs can beat them at its present length, "never" when none can at any length.

    The names and the meaning are transformers'. Raises TinylmError for a value outside its range.
    """

    beams: int = 4
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False

    def __post_init__(self) -> None:
        if not isinstance(self.beams, int) or self.beams < 1:
            raise TinylmError(f"beams is {self.beams}, expected at least 1")
        if self.early_stopping not in (True, False, "never"):
            raise TinylmError(f"early_stopping is {self.early_stopping!r}, expected True, False or 'never'")


@dataclass(frozen=True)
class Hypothesis:
    """A text that was found: its tokens, with the one that ends it, and what it is worth."""

    tokens: tuple[int, ...]
    score: float


@dataclass
class _Finished:
    """The best texts that have ended."""

    settings: BeamSettings
    best: list[Hypothesis] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.best) == self.settings.beams

    def add(self, texts: Sequence[tuple[float, tuple[int, ...]]]) -> None:
        """Take in those that end in this step, and keep the best."""
        power = self.settings.length_penalty
        found = [*self.best, *(Hypothesis(tokens, total / len(tokens) ** power) for total, tokens in texts)]
        self.best = sorted(found, key=lambda hypothesis: -hypothesis.score)[: self.settings.beams]

    def can_improve(self, best_running: float, length: int, longest: int) -> bool:
        """Whether a text that runs, at `length` tokens, may still beat the worst that has ended."""
        if not self.full:
            return True
        if self.settings.early_stopping is True:
            return False
        hopeful = self.settings.early_stopping == "never" and self.settings.length_penalty > 0
        return best_running / (longest if hopeful else length) ** self.settings.length_penalty > self.best[-1].score


def beam_search(
    model: Decoder,
    ids: Sequence[int],
    settings: BeamSettings,
    *,
    max_tokens: int,
    end_ids: Collection[int] = (),
    process: Process = lambda log_p, ids, new: log_p,
) -> list[Hypothesis]:
    """The texts that are worth most after `ids`, the best first, as many as there are beams if as many have ended.

    max_tokens: the longest, with the token of end_ids that ends it. process: changes the log-probabilities of each step
    (penalties, forbidden tokens). All beams go through the model as one batch. Equal to transformers' beam search.
    """
    finished, running, rows = _Finished(settings), [(0.0, tuple[int, ...]())], np.array(list(ids))[None]
    cache: Any = model.new_cache(1)
    wanted = max(2, 1 + len(end_ids)) * settings.beams
    for length in range(1, max_tokens + 1):
        log_p = log_softmax(model.last_logits(rows, cache)[:, -1])  # (beams, V)
        totals = np.stack(
            [score + process(log_p[beam], [*ids, *text], length - 1) for beam, (score, text) in enumerate(running)]
        )
        parents, following, ended = [], [], []
        for rank, (total, beam, token) in enumerate(_best(totals, wanted)):
            tokens = (*running[beam][1], token)
            if token not in end_ids and length < max_tokens:
                parents.append(beam)
                following.append((total, tokens))
            elif rank < settings.beams:
                ended.append((total, tokens))
        finished.add(ended)
        running, parents = following[: settings.beams], parents[: settings.beams]
        if not running or not finished.can_improve(running[0][0], length, max_tokens):
            break
        cache.select(np.array(parents))
        rows = np.array([[tokens[-1]] for _, tokens in running])
    return finished.best


def _best(totals: np.ndarray, count: int) -> list[tuple[float, int, int]]:
    """The largest of totals (beams, V) as (total, beam, token), the largest first; none of -inf."""
    flat = totals.ravel()
    places = np.argsort(-flat, kind="stable") if count >= len(flat) else np.argpartition(-flat, count - 1)[:count]
    places = places[np.argsort(-flat[places], kind="stable")][:count]
    return [(float(flat[at]), *divmod(int(at), totals.shape[1])) for at in places if flat[at] > -np.inf]


def force(log_p: np.ndarray, token: int | None) -> np.ndarray:
    """log_p (V,) where this token is certain; as it is for None."""
    if token is None:
        return log_p
    certain = np.full_like(log_p, -np.inf)
    certain[token] = 0
    return certain


def repeated_ngrams(ids: Sequence[int], size: int) -> list[int]:
    """The tokens that would make the last `size` tokens of a text a row that has been there already."""
    before = tuple(ids[len(ids) - size + 1 :]) if size > 1 else ()
    starts = range(len(ids) - size + 1)
    return [ids[at + size - 1] for at in starts if tuple(ids[at : at + size - 1]) == before]
