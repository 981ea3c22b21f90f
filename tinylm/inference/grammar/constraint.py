"""Which tokens may come next, so that a text keeps to a grammar."""

from __future__ import annotations

import threading

import numpy as np

from tinylm.text import Tokenizer

from .automaton import DEAD, Automaton
from .nodes import Node

__all__ = ["Constraint", "TokenTable"]


class TokenTable:
    """The bytes of all tokens that stand for text, side by side: what masks are computed from."""

    def __init__(self, tokenizer: Tokenizer):
        lengths = tokenizer.byte_lengths()  # 0 of special tokens, which no grammar may ask for
        self.ids = np.flatnonzero(lengths)
        tokens = [tokenizer.token_bytes(int(id)) for id in self.ids]
        self.lengths = np.array([len(token) for token in tokens], np.int64)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.bytes = np.frombuffer(b"".join(tokens), np.uint8)
        self.vocab_size = tokenizer.vocab_size


class Constraint:
    """A grammar over the tokens of a vocabulary; they may hold parts of characters, or several.

    States are numbers, 0 at first; what is known of one is kept for all texts. For several threads at once.
    """

    def __init__(self, grammar: Node, table: TokenTable):
        self._automaton, self._table = Automaton(grammar), table
        self._after: dict[int, np.ndarray] = {}  # for each state the one after each token, (V,)
        self._lock = threading.Lock()

    def mask(self, state: int) -> np.ndarray:
        """The tokens (V,) bool that may come next."""
        return self._states_after(state) != DEAD

    def next(self, state: int, token: int) -> int:
        """The state after a token that the mask allows."""
        return int(self._states_after(state)[token])

    def accepts(self, state: int) -> bool:
        """Whether the text so far is a match, and may end."""
        return self._automaton.accepts(state)

    def _states_after(self, state: int) -> np.ndarray:
        with self._lock:
            if state not in self._after:
                self._after[state] = self._walk(state)
            return self._after[state]

    def _walk(self, state: int) -> np.ndarray:
        """All tokens at once, byte by byte; those that lead nowhere drop out."""
        table = self._table
        after = np.full(table.vocab_size, DEAD, np.int32)
        going = np.arange(len(table.ids))
        states = np.full(len(going), state, np.int32)
        place = 0
        while len(going):
            states = self._automaton.step(states, table.bytes[table.starts[going] + place])
            alive = states != DEAD
            going, states, place = going[alive], states[alive], place + 1
            ended = table.lengths[going] == place
            after[table.ids[going[ended]]] = states[ended]
            going, states = going[~ended], states[~ended]
        return after
