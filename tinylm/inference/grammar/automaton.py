"""A regular expression as an automaton over bytes, whose states are made when they are first reached.

Source: Thompson 1968, "Regular expression search algorithm"; Rabin and Scott 1959 for the sets of states.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from tinylm.errors import TinylmError

from .characters import ByteTree, byte_tree
from .nodes import Characters, Choice, Node, Repeat, Sequence_

__all__ = ["DEAD", "Automaton"]

DEAD, UNKNOWN = -1, -2  # in the table of steps: no text goes on like that; not looked at yet
MOST_PARTS, MOST_STATES = 500_000, 50_000


class _Parts:
    """Thompson's construction: places, steps between them by a byte, and steps by nothing."""

    def __init__(self) -> None:
        self.steps: list[list[tuple[int, int, int]]] = []  # from each place: lowest byte, highest byte, to where
        self.free: list[list[int]] = []

    def place(self) -> int:
        if len(self.steps) >= MOST_PARTS:
            raise TinylmError(f"the grammar is too large: more than {MOST_PARTS:,} parts; repeat less")
        self.steps.append([])
        self.free.append([])
        return len(self.steps) - 1

    def add(self, node: Node, start: int) -> int:
        """Let the node begin at `start`; returns where it ends."""
        if isinstance(node, Characters):
            end = self.place()
            self._add_bytes(byte_tree(node.ranges), start, end, {})
            return end
        if isinstance(node, Sequence_):
            for part in node.parts:
                start = self.add(part, start)
            return start
        if isinstance(node, Choice):
            end = self.place()
            for option in node.options:
                begin = self.place()
                self.free[start].append(begin)
                self.free[self.add(option, begin)].append(end)
            return end
        return self._add_repeat(node, start)

    def _add_repeat(self, node: Repeat, start: int) -> int:
        for _ in range(node.least):
            start = self.add(node.body, start)
        if node.most is None:
            again, end = self.place(), self.place()
            self.free[start].append(again)
            self.free[self.add(node.body, again)].append(again)
            self.free[again].append(end)
            return end
        end = self.place()
        for _ in range(node.most - node.least):
            self.free[start].append(end)
            start = self.add(node.body, self._after(start))
        self.free[start].append(end)
        return end

    def _after(self, start: int) -> int:
        following = self.place()
        self.free[start].append(following)
        return following

    def _add_bytes(self, tree: ByteTree, start: int, end: int, known: dict[ByteTree, int]) -> None:
        for low, high, rest in tree:
            if not rest:
                self.steps[start].append((low, high, end))
                continue
            if rest not in known:
                known[rest] = self.place()
                self._add_bytes(rest, known[rest], end, known)
            self.steps[start].append((low, high, known[rest]))

    def reached(self, places: Iterable[int]) -> frozenset[int]:
        """These places, and all that are reached from them by nothing."""
        found, waiting = set(places), list(places)
        while waiting:
            for place in self.free[waiting.pop()]:
                if place not in found:
                    found.add(place)
                    waiting.append(place)
        return frozenset(found)


class Automaton:
    """States of what has been read, 0 at first. Every text that can be read can be completed to a match."""

    def __init__(self, node: Node):
        self._parts = _Parts()
        first = self._parts.place()
        self._last = self._parts.add(node, first)
        self._useful = self._completable()
        self._sets: list[frozenset[int]] = []
        self._numbers: dict[frozenset[int], int] = {}
        self._table = np.full((64, 256), UNKNOWN, np.int32)
        if self._state({first}) == DEAD:
            raise TinylmError("the grammar matches no text")

    def accepts(self, state: int) -> bool:
        """Whether what has been read is a match."""
        return self._last in self._sets[state]

    def step(self, states: np.ndarray, bytes: np.ndarray) -> np.ndarray:
        """From each state by a byte: (N,) integers both, none of the states DEAD. Returns (N,), DEAD for no text."""
        found = self._table[states, bytes]
        if (found == UNKNOWN).any():
            for state in np.unique(states[found == UNKNOWN]).tolist():
                self._fill(state)
            found = self._table[states, bytes]
        return found

    def _completable(self) -> set[int]:
        """The places from which the last one is reached: only an empty class of characters leads to others."""
        before: list[list[int]] = [[] for _ in self._parts.steps]
        for place, (steps, free) in enumerate(zip(self._parts.steps, self._parts.free, strict=True)):
            for following in [*free, *(step[2] for step in steps)]:
                before[following].append(place)
        useful, waiting = {self._last}, [self._last]
        while waiting:
            for place in before[waiting.pop()]:
                if place not in useful:
                    useful.add(place)
                    waiting.append(place)
        return useful

    def _state(self, places: Iterable[int]) -> int:
        reached = self._parts.reached(places) & self._useful
        if not reached:
            return DEAD
        if reached not in self._numbers:
            if len(self._sets) >= MOST_STATES:
                raise TinylmError(f"the grammar is too large: more than {MOST_STATES:,} states; repeat less")
            self._numbers[reached] = len(self._sets)
            self._sets.append(reached)
            if len(self._sets) > len(self._table):
                self._table = np.concatenate([self._table, np.full_like(self._table, UNKNOWN)])
        return self._numbers[reached]

    def _fill(self, state: int) -> None:
        """Where each byte leads from a state: the same between two bounds of the steps."""
        steps = [step for place in self._sets[state] for step in self._parts.steps[place]]
        bounds = sorted({0, 256, *(low for low, _, _ in steps), *(high + 1 for _, high, _ in steps)})
        for low, end in pairwise(bounds):
            places = {to for first, last, to in steps if first <= low <= last}
            following = self._state(places)
            self._table[state, low:end] = following
