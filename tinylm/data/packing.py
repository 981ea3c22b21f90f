"""Whole documents packed into windows, so that a context is not cut where another document begins.

Source: Ding et al. 2024, "Fewer truncations improve language modeling", arXiv:2404.10830; best-fit decreasing: Johnson
1973, "Near-optimal bin packing algorithms".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import TinylmError
from .batches import IGNORE, check_batch
from .tokens import TokenSplit

__all__ = ["PackedBatches", "best_fit"]

_SITE = 0xD0C5  # keeps these draws apart from others of the same seed


@dataclass(frozen=True)
class _Pieces:
    """Documents, and long ones cut: a piece that goes on with a document begins with the last id of the one before."""

    starts: np.ndarray  # (P,) int64
    lengths: np.ndarray  # (P,) int64, at most T + 1
    begins: np.ndarray  # (P,) bool: whether it is the beginning of its document


class PackedBatches:
    """(inputs, targets), both (B, T) int32, of windows that hold whole documents; only longer ones than T are cut.

    Each window has room for T + 1 ids. The documents go into windows by best-fit decreasing: the longest first, each
    into the fullest window that has room for it. What stays empty is padding: inputs of 0, targets of IGNORE.
    Within a document each id but its first is a target exactly once an epoch; the first id of a document is predicted
    from the end of the one before it in its window.

    separate: the first id of a document is no target, and a third array, (B, T) int32, says which document of its
    window each token belongs to: for models whose tokens are to see their own document alone.

    The windows are the same in each epoch; their order is a function of (seed, epoch), and row r of step s is number
    s * B + r in it. There is no other state. Memory: about 40 bytes a document.
    """

    def __init__(self, split: TokenSplit, *, batch_size: int, context: int, seed: int, separate: bool = False):
        check_batch(batch_size, context, seed)
        if split.ends is None or len(split) < 2:
            raise TinylmError(f"packing documents takes at least 2 tokens with the ends of documents, not {len(split)}")
        self.split, self.batch_size, self.context, self.seed = split, batch_size, context, seed
        self.separate = separate
        edges = np.unique([0, *split.ends, len(split)])
        self.documents = len(edges) - 1
        pieces = _cut(edges, context)
        self.cut = len(pieces.starts) - int(pieces.begins.sum())
        window_of = best_fit(pieces.lengths, context + 1)
        order = np.argsort(window_of, kind="stable")  # within a window, in the order of the text
        self._pieces = _Pieces(pieces.starts[order], pieces.lengths[order], pieces.begins[order])
        self._edges = np.append(np.unique(window_of[order], return_index=True)[1], len(order))
        self._epoch: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return len(self._edges) - 1

    def summary(self) -> str:
        """How well the documents fit, in a line."""
        padding = 1 - self._pieces.lengths.sum() / (self.windows * (self.context + 1))
        return (
            f"packing: {self.documents:,} documents in {self.windows:,} windows, {padding:.1%} padding, "
            f"{self.cut:,} cuts of documents longer than the context"
        )

    def train_batch(self, step: int, rows: slice | None = None) -> tuple[np.ndarray, ...]:
        """The batch of a step, or a slice of its rows: inputs and targets, and documents where they are separate."""
        if step < 0:
            raise TinylmError(f"train_batch: step must be at least 0, received {step}")
        numbers = range(self.batch_size)[rows or slice(None)]
        inputs = np.zeros((len(numbers), self.context), np.int32)
        targets, documents = np.full_like(inputs, IGNORE), np.full_like(inputs, -1)
        for at, row in enumerate(numbers):
            self._fill(self._window(step * self.batch_size + row), inputs[at], targets[at], documents[at])
        return (inputs, targets, documents) if self.separate else (inputs, targets)

    def _window(self, number: int) -> int:
        epoch, at = divmod(number, self.windows)
        if self._epoch[0] != epoch:
            random = np.random.Philox(key=_SITE << 64 | self.seed, counter=epoch << 128)
            self._epoch = (epoch, np.argsort(random.random_raw(self.windows), kind="stable"))
        return int(self._epoch[1][at])

    def _fill(self, window: int, inputs: np.ndarray, targets: np.ndarray, documents: np.ndarray) -> None:
        """Id j of the window is input j and target j - 1."""
        at = 0
        for piece in range(self._edges[window], self._edges[window + 1]):
            start, length = int(self._pieces.starts[piece]), int(self._pieces.lengths[piece])
            ids = np.asarray(self.split.ids[start : start + length])
            inputs[at : at + length] = ids[: self.context - at]
            targets[at : at + length - 1] = ids[1:]
            documents[at : at + length] = piece - self._edges[window]
            if at and self._pieces.begins[piece] and not self.separate:
                targets[at - 1] = ids[0]
            at += length


def _cut(edges: np.ndarray, context: int) -> _Pieces:
    """The documents between the edges in pieces of at most `context` + 1 ids."""
    starts, lengths = edges[:-1], np.diff(edges)
    counts = np.maximum(-(-(lengths - 1) // context), 1)  # with one id in common, each adds `context` transitions
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    first = np.repeat(starts, counts) + number * context
    return _Pieces(first, np.minimum(np.repeat(edges[1:], counts) - first, context + 1), number == 0)


def best_fit(lengths: np.ndarray, capacity: int) -> np.ndarray:
    """The window of each piece, (P,) int64, by best-fit decreasing; lengths are 1..capacity.

    The windows that have room for r more are kept by r, and the bits of a number say for which r there are any: the
    fullest that fits is one shift away, so that a piece takes the same time however many windows there are.
    """
    window_of = np.empty(len(lengths), np.int64)
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = windows = 0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[piece])
        if fitting := rooms >> length:
            room = length + (fitting & -fitting).bit_length() - 1
            window = with_room[room].pop()
            rooms ^= 0 if with_room[room] else 1 << room
        else:
            room, window, windows = capacity, windows, windows + 1
        window_of[piece] = window
        if room > length:
            with_room[room - length].append(window)
            rooms |= 1 << (room - length)
    return window_of
