"""The words of a text while their pairs are merged.

Source: Sennrich et al. 2016, arXiv:1508.07909, algorithm 1, with the counts of pairs kept up to date.
"""

from __future__ import annotations

import heapq
from array import array

import numpy as np

__all__ = ["LinkedWords"]

Pair = tuple[int, int]

# A pair that occurs once says nothing about other texts.
LEAST_COUNT = 2


class LinkedWords:
    """All distinct words end to end, as a linked list of ids, and the places and counts of their pairs.

    A merge visits only the places of its pair, so that a long word costs no more than many short ones.
    """

    def __init__(self, ids: np.ndarray, weights: np.ndarray):
        """ids: int32, -1 after each word; weights: how often each place occurs in the text, int64."""
        self._counts, self._places = _count_pairs(ids, weights)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)
        self._ids, self._weights = array("i", ids.tobytes()), array("q", weights.tobytes())
        self._after, self._before = array("i", range(1, len(ids) + 1)), array("i", range(-1, len(ids) - 1))

    def most_frequent(self) -> Pair | None:
        """The pair to merge next, None where none is frequent enough.

        The heap keeps a count that has fallen since: it is put right when it comes up.
        """
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            count = self._counts.get(pair, 0)
            if count < LEAST_COUNT:
                continue
            if count == -negative:
                return pair
            heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, pair: Pair, product: int) -> None:
        """Put the product in the place of the pair wherever it stands, from left to right in each word."""
        ids, after, before, weights = self._ids, self._after, self._before, self._weights
        changes: dict[Pair, int] = {}
        for place in sorted(self._places.pop(pair)):
            second = after[place]
            if (ids[place], ids[second]) != pair:  # an overlapping pair was merged before
                continue
            weight, previous, following = weights[place], before[place], after[second]
            if (left := ids[previous]) >= 0:
                self._replace((left, pair[0]), (left, product), previous, weight, changes)
            if (right := ids[following]) >= 0:
                self._replace((pair[1], right), (product, right), place, weight, changes)
            ids[place], ids[second] = product, -2
            after[place], before[following] = following, place
        changes.pop(pair, None)
        del self._counts[pair]
        for changed, change in changes.items():
            count = self._counts[changed] = self._counts.get(changed, 0) + change
            if change > 0:
                heapq.heappush(self._heap, (-count, changed))

    def _replace(self, old: Pair, new: Pair, place: int, weight: int, changes: dict[Pair, int]) -> None:
        changes[old] = changes.get(old, 0) - weight
        changes[new] = changes.get(new, 0) + weight
        if (places := self._places.get(new)) is None:
            self._places[new] = array("i", (place,))
        else:
            places.append(place)


def _count_pairs(ids: np.ndarray, weights: np.ndarray) -> tuple[dict[Pair, int], dict[Pair, array[int]]]:
    """The weight and the places of each pair of neighbours within words."""
    places = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0)).astype(np.int32)
    keys = ids[places].astype(np.int64) << 32 | ids[places + 1]
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts, where = {}, {}
    sums = np.add.reduceat(weights[places], starts) if len(starts) else starts
    for key, count, start, end in zip(
        keys[starts].tolist(), sums.tolist(), starts, [*starts[1:], len(keys)], strict=False
    ):
        pair = (key >> 32, key & 0xFFFFFFFF)
        counts[pair], where[pair] = count, array("i", places[start:end].tobytes())
    return counts, where
