"""Vectors of texts, and search by them: what an LM with an encoder can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinylm.data import Passage, Progress
from tinylm.errors import TinylmError
from tinylm.formats import Pooling
from tinylm.models import Encoder
from tinylm.text import Tokenizer

from .search import PROBE, Found, SearchIndex, passage_windows
from .sentence_vectors import encoder_rows, sentence_vectors

__all__ = ["Embedder"]


class Embedder:
    """What makes vectors of texts. A subclass has the model, its tokenizer, and how states become one vector."""

    @property
    def model(self) -> Any:
        """The encoder."""
        raise NotImplementedError

    @property
    def tokenizer(self) -> Tokenizer:
        """Between texts and ids."""
        raise NotImplementedError

    @property
    def pooling(self) -> Pooling:
        """How the encoder makes one vector of a text."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], *, batch_size: int = 32, progress: Progress | None = None) -> np.ndarray:
        """The vectors (N, C) float32 of N texts by an encoder, pooled as its folder says; see `sentence_vectors`.

        Where the folder says nothing, each is the mean of the hidden states of a text's tokens. What is longer than the
        model reads is cut. progress: told how many texts are done.
        """
        if isinstance(texts, str):
            raise TypeError("embed: expected a sequence of texts, received one text")
        limit = self._longest_text()
        rows = encoder_rows(self.tokenizer, texts, limit)
        return sentence_vectors(self.model, rows, self.pooling, batch_size=batch_size, progress=progress)

    def index(
        self, passages: Sequence[str | Passage], *, origin: str = "", progress: Progress | None = None
    ) -> SearchIndex:
        """What `search` looks in: texts, or passages of files (`tinylm.data.read_passages`), with their vectors.

        One that is longer than the model reads becomes several, which overlap. origin: says where they come from.
        """
        if isinstance(passages, str):
            raise TypeError("index: expected a sequence of texts or passages, received one text")
        given = [Passage(passage) if isinstance(passage, str) else passage for passage in passages]
        parts, rows = passage_windows(self.tokenizer, given, self._longest_text())
        vectors = sentence_vectors(self.model, rows, self.pooling, progress=progress)
        return SearchIndex(parts, vectors, self._probe(), origin)

    def search(self, passages: SearchIndex | Sequence[str | Passage], query: str, k: int = 10) -> list[Found]:
        """The k passages that are nearest to a query in meaning, by the cosine of their vectors, the nearest first.

        passages: an index, or texts, of which one is made each time. Raises TinylmError for another model's index.
        """
        index = passages if isinstance(passages, SearchIndex) else self.index(passages)
        if not self.has_made(index):
            raise TinylmError("search: the index was made by another model, or by this one before it was changed")
        return index.nearest(self.embed([query])[0], k)

    def has_made(self, index: SearchIndex) -> bool:
        """Whether an index is of this model as it is."""
        return index.is_of(self._probe())

    def _probe(self) -> np.ndarray:
        return self.embed([PROBE])[0]

    def _longest_text(self) -> int:
        """In tokens. Raises TinylmError for a model that makes no vectors."""
        if not isinstance(self.model, Encoder):
            raise TinylmError(f"{self.model.architecture} is no encoder, which is what makes vectors of texts")
        return min(self.pooling.max_tokens or self.model.context, self.model.context)
