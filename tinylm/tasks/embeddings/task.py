"""What the trainer takes of embeddings: batches of pairs, the contrastive loss or that of scores, and a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tinylm.autograd import Tensor, no_grad
from tinylm.autograd import functional as F
from tinylm.data import LengthBuckets
from tinylm.formats import Pooling
from tinylm.inference import pooled_vectors, sentence_vectors, unit
from tinylm.models import Encoder
from tinylm.nn import later_rows

from .pairs import Pairs, pair_scores

__all__ = ["Batch", "EmbeddingTask", "contrastive_loss"]


class Batch(NamedTuple):
    """The ids of B anchors, and of M documents of which the first B belong to them; what each side is padded to.

    false: (B, M) bool, other documents that belong to an anchor as well. scores: (B,), where the pairs have them.
    """

    anchors: Sequence[np.ndarray]
    documents: Sequence[np.ndarray]
    lengths: tuple[int, int]
    false: np.ndarray
    scores: np.ndarray | None


def contrastive_loss(anchors: Tensor, documents: Tensor, false: np.ndarray, temperature: float) -> Tensor:
    """The mean of -ln softmax(cosine / temperature) of each anchor's own document among all of them, in nats.

    anchors: (B, C), documents: (M, C), both of length 1; document i belongs to anchor i. false: (B, M) bool, those that
    are not looked at. Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; Henderson et al. 2017,
    arXiv:1705.00652, section 4.4.
    """
    logits = F.linear(anchors, documents) * (1 / temperature)  # (B, M)
    if false.any():
        logits = F.where(~false, logits, logits.dtype.type(-np.inf))
    return F.cross_entropy(logits, np.arange(len(false)))


class EmbeddingTask:
    """The task (see `tinylm.training.Task`) on pairs to train on and pairs that are held out.

    With scores it learns that the cosine of two texts is their score; else that each anchor's document is nearer to it
    than those of the other anchors of the batch, and than the negatives. An anchor that is its own document is told
    from itself by other masks of dropout (Gao et al. 2021, arXiv:2104.08821, section 3).

    encode: the ids of texts; mode: see `Pooling`; searched: whether pairs that are held out tell more than their loss.
    """

    def __init__(
        self,
        train: Pairs,
        validation: Pairs,
        encode: Callable[[Sequence[str]], list[np.ndarray]],
        *,
        batch_size: int,
        temperature: float,
        mode: str = "mean",
        searched: bool = True,
        seed: int = 0,
    ):
        self.train, self.validation, self.batch_size, self.temperature = train, validation, batch_size, temperature
        self.mode, self.searched = mode, searched
        self._texts, self._held_out = encode(train.texts), encode(validation.texts)
        self.lengths = np.array([len(ids) for ids in self._texts])  # (texts,) in tokens
        both = self.lengths[train.anchors] + self.lengths[train.positives]
        self._buckets = LengthBuckets(both, batch_size=batch_size, seed=seed)
        # The vectors (texts, C) of what is held out, as they were last measured.
        self.measured: np.ndarray | None = None

    def batch(self, step: int, rows: slice) -> Batch:
        """Slices of a batch are as long as the whole of it."""
        numbers = self._buckets.rows(step)
        sides = self.train.anchors[numbers], self.train.documents(numbers)
        longest = int(self.lengths[sides[0]].max()), int(self.lengths[sides[1]].max())
        anchors, documents, false, scores = self.train.sides(numbers[rows])
        texts = self._texts
        return Batch([texts[a] for a in anchors], [texts[d] for d in documents], longest, false, scores)

    def loss(self, model: Encoder, batch: Batch) -> Tensor:
        with model.observed():
            anchors = unit(pooled_vectors(model, batch.anchors, self.mode, batch.lengths[0]))
            with later_rows(self.batch_size):
                documents = unit(pooled_vectors(model, batch.documents, self.mode, batch.lengths[1]))
        return self._loss(anchors, documents, batch.false, batch.scores)

    def _loss(self, anchors: Tensor, documents: Tensor, false: np.ndarray, scores: np.ndarray | None) -> Tensor:
        if scores is None:
            return contrastive_loss(anchors, documents, false, self.temperature)
        difference = (anchors * documents).sum(axis=-1) - scores.astype(anchors.dtype)
        return (difference * difference).mean()

    def count(self, batch: Batch) -> int:
        return len(batch.anchors)

    def tokens(self, batch: Batch) -> int:
        return sum(map(len, batch.anchors)) + sum(map(len, batch.documents))

    def evaluate(self, model: Encoder) -> dict[str, float]:
        """The loss of what is held out, in batches in its order, and the scores."""
        if not len(self.validation):
            return {}
        self.measured = sentence_vectors(model, self._held_out, Pooling(self.mode, normalize=True))
        figures = pair_scores(self.validation, self.measured).result() if self.searched else {}
        return {"loss": self._held_out_loss(self.measured), **figures}

    def _held_out_loss(self, vectors: np.ndarray) -> float:
        pairs, total = self.validation, 0.0
        for first in range(0, len(pairs), self.batch_size):
            chosen = np.arange(first, min(first + self.batch_size, len(pairs)))
            anchors, documents, false, scores = pairs.sides(chosen)
            with no_grad():
                loss = self._loss(Tensor(vectors[anchors]), Tensor(vectors[documents]), false, scores)
            total += loss.item() * len(chosen)
        return total / len(pairs)
