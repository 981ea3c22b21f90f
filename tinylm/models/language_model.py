"""What every language model here can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.autograd import functional as F
from tinylm.nn import Embedding, Initializer

from .base import Model
from .classifier import CausalClassifier, classifier_name

__all__ = ["Cache", "CausalLanguageModel"]


class Cache(Protocol):
    """What a model keeps of the tokens it has seen, so that the next one costs one step.

    length: how many those are.
    """

    length: int

    def keep(self, length: int) -> bool:
        """Forget the tokens after the first `length`; False, and nothing done, where the cache cannot."""

    def joined(self, caches: Any) -> Any:
        """One cache of the rows of several, which may have seen different numbers of tokens: it takes one at a time."""

    def select(self, rows: np.ndarray) -> None:
        """Go on with these rows, in this order; a row may come more than once. rows: (B,) integers."""


def _saves_memory(rows: int, vocabulary: int, width: int) -> bool:
    """Whether a loss in chunks holds at most half of what all logits take: a chunk's, and the weight's gradient."""
    return rows >= 2 * (K.rows_at_once(vocabulary, width) + width)


class CausalLanguageModel(Model):
    """Predicts each token from those before it. Subclasses define `hidden`, `head_weight` and `new_cache`."""

    tokens: Embedding

    @property
    def context(self) -> int | None:
        """How many tokens the model can look at; None where there is no limit."""
        return None

    @property
    def end_ids(self) -> frozenset[int]:
        """The tokens that end a text; generation stops before them."""
        end = self.config.eos_token_id
        return frozenset([] if end is None else end if isinstance(end, list) else [end])

    @classmethod
    def architectures(cls) -> dict[str, str]:
        return {**super().architectures(), "classification": classifier_name(cls.architecture)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Model:
        model: Any = super().from_settings(settings, init)
        architecture = (settings.get("architectures") or [cls.architecture])[0]
        return CausalClassifier(model, init) if architecture == classifier_name(cls.architecture) else model

    def hidden(
        self, ids: np.ndarray, cache: Any = None, key_mask: np.ndarray | None = None, **where: np.ndarray | None
    ) -> Tensor:
        """The last hidden state of each token: ids (B, T) integers to (B, T, C).

        key_mask: (B, S) bool, False for padding, which no token sees; S counts the tokens in the cache as well. where:
        the positions and the documents of the tokens, for models that have them; see `CausalTransformer`.
        """
        raise TypeError(f"{type(self).__name__} defines no hidden")

    @property
    def head_weight(self) -> Tensor:
        """The output projection, (V, C)."""
        raise TypeError(f"{type(self).__name__} defines no head_weight")

    def new_cache(self, batch: int) -> Any:
        """An empty cache for `batch` rows, to pass to `forward` with the first tokens and again with the next."""
        raise TypeError(f"{type(self).__name__} defines no new_cache")

    def forward(
        self, ids: np.ndarray, cache: Any = None, key_mask: np.ndarray | None = None, **where: np.ndarray | None
    ) -> Tensor:
        """The logits of the token after each one: ids (B, T) to (B, T, V). With a cache, ids are the new tokens.

        key_mask, where: as in `hidden`.
        """
        return F.linear(self.hidden(ids, cache, key_mask, **where), self.head_weight)

    def last_logits(self, ids: np.ndarray, cache: Any = None, count: int = 1) -> np.ndarray:
        """The logits (B, count, V) of the token after each of the last `count` of ids (B, T), without a graph."""
        with no_grad():
            return self(np.asarray(ids), cache).data[:, -count:]

    def loss(
        self,
        ids: np.ndarray,
        targets: np.ndarray,
        documents: np.ndarray | None = None,
        *,
        label_smoothing: float = 0.0,
        cache: Any = None,
        key_mask: np.ndarray | None = None,
        **where: np.ndarray | None,
    ) -> Tensor:
        """The mean cross-entropy in nats: ids, targets (B, T); targets of -100 do not count.

        documents: (B, T) integers, a run of equal ones for each text of a row; see `CausalTransformer`. cache,
        key_mask, where: as in `forward`.
        """
        where |= {} if documents is None else {"documents": documents}
        if not _saves_memory(targets.size, *self.head_weight.shape):
            # Nobody else sees these logits, so their gradient may take their place.
            logits = self(ids, cache, key_mask, **where)
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing, in_place=True)
        with self.observed():
            hidden = self.hidden(ids, cache, key_mask, **where)  # (B, T, C)
            return F.linear_cross_entropy(hidden, self.head_weight, targets, label_smoothing=label_smoothing)
