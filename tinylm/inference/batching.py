"""Several texts written at once: each step reads the weights once, for a token of each. Texts join at any step.

Source: Yu et al. 2022, "Orca: a distributed serving system for Transformer-based generative models", section 3.1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from .decoder import Decoder
from .engine import Engine
from .reading import Reader, window_start
from .writing import Writer

__all__ = ["BatchWriter"]


@dataclass
class _Row:
    """A text in the batch: its cache begins at the token `start`."""

    writer: Writer
    start: int


class BatchWriter:
    """Writes texts of any lengths and settings side by side, at most `rows` at once; the others wait for their turn.

    A text does not depend on those beside it, but where a Module writes, through the rounding of matrix products: one
    of a single row adds up in another order than one of several. The engine's do not.
    """

    def __init__(self, model: Decoder, *, rows: int = 16):
        self._model, self._most = model, rows
        self._waiting: deque[tuple[Writer, Reader | None]] = deque()
        self._rows: list[_Row] = []
        self._cache: Any = None

    def __len__(self) -> int:
        """How many texts are being written or wait."""
        return len(self._waiting) + len(self._rows)

    def add(self, writer: Writer, reader: Reader | None = None) -> None:
        """Let a text join at the next step. reader: has read some of its prompt already."""
        self._waiting.append((writer, reader))

    def step(self) -> list[tuple[Writer, str]]:
        """Write a token of each text; the pieces that they complete. A text that has ended leaves."""
        self._let_go()
        pieces = self._go_on()
        pieces += self._admit()
        self._let_go()
        return pieces

    def _let_go(self) -> None:
        """Take out of the batch what has ended; what its window moves for is read anew."""
        kept = []
        for at, row in enumerate(self._rows):
            if row.writer.finish_reason is not None:
                if isinstance(self._model, Engine):
                    self._model.prefixes.put(row.writer.ids[row.start :], self._cache.sequences[at], copied=True)
                continue
            if window_start(len(row.writer.ids), self._model.context) == row.start:
                kept.append(at)
            else:
                self._waiting.appendleft((row.writer, None))
        if len(kept) < len(self._rows):
            self._rows = [self._rows[at] for at in kept]
            self._cache.select(np.array(kept, np.intp))

    def _go_on(self) -> list[tuple[Writer, str]]:
        if not self._rows:
            return []
        ids = np.array([[row.writer.ids[-1]] for row in self._rows])
        logits = self._model.last_logits(ids, self._cache)[:, -1]
        return [(row.writer, row.writer.take(logits[at])) for at, row in enumerate(self._rows)]

    def _admit(self) -> list[tuple[Writer, str]]:
        """Read what waits, as far as there is room, and write the first token of each."""
        pieces, caches = [], []
        last: tuple[list[int], Reader] | None = None
        while self._waiting and len(self._rows) < self._most:
            writer, reader = self._waiting.popleft()
            if writer.finish_reason is not None:
                continue
            if reader is None:  # of several choices, the prompt is read once
                reader = last[1] if last is not None and last[0] == writer.ids else Reader(self._model)
            last = list(writer.ids), reader
            logits = reader.logits(writer.ids)[-1]
            self._rows.append(_Row(writer, window_start(len(writer.ids), self._model.context)))
            caches.append(reader.cache)
            pieces.append((writer, writer.take(logits)))
        if caches:
            self._cache = caches[0].joined([*([] if self._cache is None else [self._cache]), *caches])
        return pieces
