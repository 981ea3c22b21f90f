"""The tokens of a corpus: where they lie, how long their text is, and where its documents end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

import numpy as np

from ..errors import TinylmError

__all__ = ["CorpusTokens", "Ids", "ShardedIds", "TokenSplit"]

_BLOCK = 1 << 22  # ids looked at together, where all of them may not fit into memory


class ShardedIds:
    """Ids that lie in several arrays, as if in one; read-only.

    A slice (with step 1) is another view and costs nothing; `np.asarray` makes it an array, without a copy where it
    lies in one shard.
    """

    def __init__(self, shards: Sequence[np.ndarray], start: int = 0, stop: int | None = None):
        self._shards = shards
        self._edges = np.array([0, *accumulate(len(shard) for shard in shards)])
        self._start = start
        self._stop = int(self._edges[-1]) if stop is None else stop

    @property
    def dtype(self) -> np.dtype:
        """That of every shard."""
        return self._shards[0].dtype

    def __len__(self) -> int:
        return self._stop - self._start

    @overload
    def __getitem__(self, index: int) -> np.integer: ...
    @overload
    def __getitem__(self, index: slice) -> ShardedIds: ...
    def __getitem__(self, index: int | slice) -> np.integer | ShardedIds:
        if not isinstance(index, slice):
            at = range(len(self))[index]
            return np.asarray(self[at : at + 1])[0]
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise TinylmError(f"ids in shards are sliced with step 1, received {step}")
        view = object.__new__(ShardedIds)
        view._shards, view._edges = self._shards, self._edges
        view._start, view._stop = self._start + start, self._start + max(start, stop)
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        first = max(int(np.searchsorted(self._edges, self._start, "right")) - 1, 0)
        parts, at = [], self._start
        while at < self._stop:
            begin, end = int(self._edges[first]), min(int(self._edges[first + 1]), self._stop)
            parts.append(self._shards[first][at - begin : end - begin])
            at, first = end, first + 1
        whole = parts[0] if len(parts) == 1 else np.concatenate([self._shards[0][:0], *parts])
        return np.array(whole, dtype) if copy else np.asarray(whole, dtype)


Ids = np.ndarray | ShardedIds


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """A stretch of tokens. ids: N of them, unsigned, read-only; byte_lengths: (V,) UTF-8 bytes of each token.

    ends: (D,) ascending, where each document ends, the token or newline after it included; the last may end behind the
    stretch, and then is not among them. None where documents are not known.
    """

    ids: Ids
    byte_lengths: np.ndarray
    ends: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def n_bytes(self) -> int:
        """The UTF-8 bytes of all the tokens, exactly."""
        return self.count_bytes()

    def count_bytes(self, start: int = 0, stop: int | None = None) -> int:
        """The UTF-8 bytes of tokens start..stop-1: what bits per byte divide their loss by."""
        ids = self.ids[start:stop]
        vocab_size = len(self.byte_lengths)
        blocks = (np.asarray(ids[first : first + _BLOCK]) for first in range(0, len(ids), _BLOCK))
        return sum(int(np.bincount(block, minlength=vocab_size) @ self.byte_lengths) for block in blocks)

    def part(self, start: int, stop: int) -> TokenSplit:
        """Tokens start..stop-1; a document that is cut ends in the part that holds its end."""
        ends = None
        if self.ends is not None:
            first, last = np.searchsorted(self.ends, [start, stop], "right")
            ends = self.ends[first:last] - start
        return TokenSplit(self.ids[start:stop], self.byte_lengths, ends)


class CorpusTokens(TokenSplit):
    """All the tokens of a corpus, memory-mapped or in memory."""

    def split(self, validation_fraction: float = 0.1) -> tuple[TokenSplit, TokenSplit]:
        """(train, validation): the validation tokens are the last floor(fraction * N), in one piece."""
        if not 0 <= validation_fraction < 1:
            raise TinylmError(f"validation_fraction must be at least 0 and below 1, received {validation_fraction}")
        cut = len(self) - math.floor(len(self) * validation_fraction)
        return self.part(0, cut), self.part(cut, len(self))
