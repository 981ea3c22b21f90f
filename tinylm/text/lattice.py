"""All ways to cut words into tokens, with sums and maxima over them, for many words at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Lattice"]

Level = tuple[np.ndarray, np.ndarray]  # arcs, those of one place together; where in them each place begins


class Lattice:
    """A graph for each word: places before, between and after its characters, and an arc for each token that fits.

    longest: characters of a token that are looked for; proper: without the arcs that span a whole word. Each method
    goes through the places by their offset in the word, for all words at once.
    """

    def __init__(self, words: Sequence[str], tokens: Sequence[str], *, longest: int, proper: bool = False):
        ids = {token: id for id, token in enumerate(tokens)}
        arcs = [
            (word_number, start, end, id)
            for word_number, word in enumerate(words)
            for start in range(len(word))
            for end in range(start + 1, min(len(word), start + longest) + 1)
            if (id := ids.get(word[start:end])) is not None and not (proper and end - start == len(word))
        ]
        word, start, end, self._token = np.array(arcs, np.int64).reshape(-1, 4).T
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        self._first = np.cumsum(lengths + 1) - lengths - 1  # the place before each word
        self._last = self._first + lengths
        self._word = word
        self._start, self._end = self._first[word] + start, self._first[word] + end
        self._n_tokens, self._n_places = len(tokens), int((lengths + 1).sum())
        self._forward = _levels(end, self._end)
        self._backward = _levels(start, self._start)[::-1]

    def expected_counts(self, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """How often each token occurs, (V,) float64, if a word is cut in each way as probably as that is.

        scores: log-probabilities of the tokens, (V,), -inf for one that is not used; weights: how often each word
        occurs. A word that cannot be cut counts nothing.
        """
        before = self._sums(scores, self._forward, self._start, self._end, self._first, _log_sum)
        after = self._sums(scores, self._backward, self._end, self._start, self._last, _log_sum)
        total = before[self._last]
        usable = np.isfinite(total)[self._word]
        word, token = self._word[usable], self._token[usable]
        probability = before[self._start[usable]] + scores[token] + after[self._end[usable]] - total[word]
        return np.bincount(token, np.exp(probability) * weights[word], minlength=self._n_tokens)

    def best(self, scores: np.ndarray) -> np.ndarray:
        """The log-probability of the best way to cut each word, -inf where there is none."""
        best = self._sums(scores, self._forward, self._start, self._end, self._first, np.maximum.reduceat)
        return best[self._last]

    def _sums(
        self,
        scores: np.ndarray,
        levels: Sequence[Level],
        tail: np.ndarray,
        head: np.ndarray,
        origin: np.ndarray,
        reduce: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """For each place, what `reduce` makes of the scores of all ways from the origin of its word."""
        sums = np.full(self._n_places, -np.inf)
        sums[origin] = 0
        for arcs, groups in levels:
            sums[head[arcs[groups]]] = reduce(sums[tail[arcs]] + scores[self._token[arcs]], groups)
        return sums


def _levels(offset: np.ndarray, place: np.ndarray) -> list[Level]:
    """The arcs of each offset, those of one place together."""
    order = np.lexsort((place, offset))
    ends = np.flatnonzero(np.diff(offset[order])) + 1
    return [(arcs, np.flatnonzero(np.diff(place[arcs], prepend=-1))) for arcs in np.split(order, ends) if len(arcs)]


def _log_sum(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """log(sum(exp(values))) of each group, -inf where all are."""
    largest = np.maximum.reduceat(values, groups)
    base = np.where(np.isfinite(largest), largest, 0)
    lengths = np.diff(groups, append=len(values))
    with np.errstate(divide="ignore"):
        return base + np.log(np.add.reduceat(np.exp(values - np.repeat(base, lengths)), groups))
