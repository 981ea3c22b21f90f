"""Byte pair encoding of one word."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

__all__ = ["Merges"]


class Merges:
    """Joins neighbours as the merges say: of all that apply the earliest in the list, of its places the leftmost.

    pairs: the left and the right id of each merge; products: the id that takes their place.
    Source: Sennrich et al. 2016, arXiv:1508.07909, section 3.2.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]], products: Sequence[int]):
        self._pairs, self._products = pairs, products
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}

    def apply(self, ids: list[int]) -> list[int]:
        """The ids after all merges."""
        return [id for id in self.merged(ids) if id >= 0]

    def merged(self, ids: list[int]) -> list[int]:
        """The same, with a number below 0 where an id was that has joined the one before it; O(n log n) for n ids.

        The ids are a linked list; a heap holds what can be merged as rank * 2^32 + place. An entry whose ids have
        changed meanwhile is passed over.
        """
        n = len(ids)
        ranks, pairs, products = self._ranks.get, self._pairs, self._products
        heap = [
            rank << 32 | place
            for place, pair in enumerate(itertools.pairwise(ids))
            if (rank := ranks(pair)) is not None
        ]
        if not heap:
            return ids
        heapq.heapify(heap)
        ids = [*ids, -1]  # the id after the last: it merges with nothing
        after, before = list(range(1, n + 2)), list(range(-1, n))
        while heap:
            entry = heapq.heappop(heap)
            rank, left = entry >> 32, entry & 0xFFFFFFFF
            right = after[left]
            if (ids[left], ids[right]) != pairs[rank]:
                continue
            product = ids[left] = products[rank]
            ids[right] = -2  # gone
            following = after[left] = after[right]
            before[following] = left
            if (rank_right := ranks((product, ids[following]))) is not None:
                heapq.heappush(heap, rank_right << 32 | left)
            previous = before[left]
            if previous >= 0 and (rank_left := ranks((ids[previous], product))) is not None:
                heapq.heappush(heap, rank_left << 32 | previous)
        return ids[:-1]
