"""What every language model here can do, whatever it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.nn import Initializer, Module

from .config import read_config

__all__ = ["Cache", "CausalLanguageModel", "StoredName"]


class Cache(Protocol):
    """What a model keeps of the tokens it has seen, so that the next one costs one step.

    length: how many those are.
    """

    length: int


# Where a parameter of ours lies in a model folder: the tensor's name, and whether it is stored transposed.
StoredName = tuple[str, bool]


def _saves_memory(rows: int, vocabulary: int, width: int) -> bool:
    """Whether a loss in chunks holds at most half of what all logits take: a chunk's, and the weight's gradient."""
    return rows >= 2 * (K.rows_at_once(vocabulary, width) + width)


class CausalLanguageModel(Module):
    """Predicts each token from those before it. Subclasses define `hidden`, `head_weight` and `new_cache`."""

    model_type: ClassVar[str]
    config_class: ClassVar[type]
    architecture: ClassVar[str]
    config: Any

    # Whether training computes each block again in the backward pass instead of keeping what lies inside it
    # (`tinylm.autograd.checkpoint`): less memory, more time, the same bits. None where a family cannot.
    gradient_checkpointing: bool | None = None

    def __init__(self, config: Any, init: Initializer):
        self.config = config

    @property
    def context(self) -> int | None:
        """How many tokens the model can look at; None where there is no limit."""
        return None

    def hidden(self, ids: np.ndarray, cache: Any = None) -> Tensor:
        """The last hidden state of each token: ids (B, T) integers to (B, T, C)."""
        raise TypeError(f"{type(self).__name__} defines no hidden")

    @property
    def head_weight(self) -> Tensor:
        """The output projection, (V, C)."""
        raise TypeError(f"{type(self).__name__} defines no head_weight")

    def new_cache(self, batch: int) -> Any:
        """An empty cache for `batch` rows, to pass to `forward` with the first tokens and again with the next."""
        raise TypeError(f"{type(self).__name__} defines no new_cache")

    def forward(self, ids: np.ndarray, cache: Any = None) -> Tensor:
        """The logits of the token after each one: ids (B, T) to (B, T, V). With a cache, ids are the new tokens."""
        return F.linear(self.hidden(ids, cache), self.head_weight)

    def loss(self, ids: np.ndarray, targets: np.ndarray, *, label_smoothing: float = 0.0, cache: Any = None) -> Tensor:
        """The mean cross-entropy in nats: ids, targets (B, T); targets of -100 do not count. cache: as in `forward`."""
        if not _saves_memory(targets.size, *self.head_weight.shape):
            # Nobody else sees these logits, so their gradient may take their place.
            return F.cross_entropy(self(ids, cache), targets, label_smoothing=label_smoothing, in_place=True)
        with self.observed():
            hidden = self.hidden(ids, cache)  # (B, T, C)
            return F.linear_cross_entropy(hidden, self.head_weight, targets, label_smoothing=label_smoothing)

    def folder_names(self) -> Mapping[str, StoredName]:
        """For each of our parameters its name in a model folder, and whether it is stored transposed."""
        return {name: (name, False) for name, _ in self.named_parameters()}

    @classmethod
    def full_name(cls, stored: str) -> str | None:
        """The name that `folder_names` uses for a tensor of a folder; None for one that is no parameter."""
        return stored

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Self:
        """A model from the settings of a config.json. Raises TinylmError for what is missing, wrong or unsupported."""
        return cls(read_config(cls.config_class, settings), init)
