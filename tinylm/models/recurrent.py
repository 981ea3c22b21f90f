"""Recurrent language models: an embedding, layers of LSTM or GRU, and the output projection.

Source: Graves 2013, "Generating sequences with recurrent neural networks", arXiv:1308.0850, section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.errors import TinylmError
from tinylm.nn import GRU, LSTM, Dropout, Embedding, Initializer, Linear, Recurrent, RecurrentState

from .labels import LabelSettings
from .language_model import CausalLanguageModel

__all__ = [
    "GRUConfig",
    "GRULanguageModel",
    "LSTMConfig",
    "LSTMLanguageModel",
    "RecurrentConfig",
    "RecurrentLanguageModel",
    "StateCache",
]


@dataclass(frozen=True)
class RecurrentConfig(LabelSettings):
    """The settings that the recurrent families share."""

    vocab_size: int
    embedding_size: int = 128
    hidden_size: int = 256
    num_layers: int = 2
    dropout: float = 0.0  # after the embedding, between the layers and before the output projection
    variational_dropout: bool = False  # one mask for all steps of a row
    tie_word_embeddings: bool = False  # the output projection is the token embedding; needs equal sizes
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise TinylmError(f"{kind}: {name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise TinylmError(f"{kind}: dropout is {self.dropout}, expected 0 <= rate < 1")
        if self.tie_word_embeddings and self.embedding_size != self.hidden_size:
            raise TinylmError(
                f"{kind}: tied embeddings need embedding_size {self.embedding_size} "
                f"to equal hidden_size {self.hidden_size}"
            )


@dataclass(frozen=True)
class LSTMConfig(RecurrentConfig):
    """The settings of an LSTM language model."""

    peepholes: bool = False  # whether the gates see the cell


@dataclass(frozen=True)
class GRUConfig(RecurrentConfig):
    """The settings of a GRU language model."""

    reset_after: bool = True  # whether the reset gate acts after the recurrent product


class StateCache:
    """The state of all layers after the tokens seen so far: its size does not grow with them."""

    def __init__(self, state: RecurrentState):
        self.state = state
        self.length = 0

    def keep(self, length: int) -> bool:
        return length >= self.length

    def joined(self, caches: Sequence[StateCache]) -> StateCache:
        """One cache of all their rows; a state does not say how many tokens it has seen."""
        states = zip(*(cache.state for cache in caches), strict=True)
        return StateCache(
            [
                tuple(Tensor(np.concatenate([part.data for part in parts])) for parts in zip(*layer, strict=True))
                for layer in states
            ]
        )

    def select(self, rows: np.ndarray) -> None:
        self.state = [tuple(Tensor(part.data[rows]) for part in layer) for layer in self.state]


class RecurrentLanguageModel(CausalLanguageModel):
    """ids (B, T) to logits (B, T, V); each row starts from a state of zeros, or from the cache's.

    A cache also takes the state from one batch of training to the next: with its arrays, and without its graph.
    """

    def __init__(self, config: Any, init: Initializer):
        super().__init__(config, init)
        E, H, layers = config.embedding_size, config.hidden_size, config.num_layers
        drop = {"variational": config.variational_dropout}
        self.tokens = Embedding(config.vocab_size, E, init, std=1 / math.sqrt(E))
        self.dropout_in = Dropout(config.dropout, site=0, **drop)
        self.recurrent = self._layers(config, init, layers=layers, dropout=config.dropout, site=1, **drop)
        self.dropout_out = Dropout(config.dropout, site=layers, **drop)
        self.head = (
            None if config.tie_word_embeddings else Linear(H, config.vocab_size, init, std=1 / math.sqrt(H), bias=False)
        )

    def _layers(self, config: Any, init: Initializer, **stacking: Any) -> Recurrent:
        raise TypeError(f"{type(self).__name__} defines no _layers")

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight if self.head is None else self.head.weight

    def hidden(
        self,
        ids: np.ndarray,
        cache: StateCache | None = None,
        key_mask: np.ndarray | None = None,
        **where: np.ndarray | None,
    ) -> Tensor:
        if where:
            raise TinylmError(f"{type(self).__name__}: a recurrent state knows no {' and no '.join(where)}")
        if key_mask is not None and not key_mask.all():
            raise TinylmError(f"{type(self).__name__}: a recurrent state sees all tokens, padding as well; mask none")
        x = self.dropout_in(self.tokens(ids))  # (B, T, E)
        x, state = self.recurrent(x, cache.state if cache else None)  # (B, T, H)
        if cache:
            cache.state = state
            cache.length += ids.shape[1]
        return self.dropout_out(x)

    def new_cache(self, batch: int) -> StateCache:
        return StateCache(self.recurrent.initial_state(batch))


class LSTMLanguageModel(RecurrentLanguageModel):
    """A language model of LSTM layers."""

    model_type = "lstm"
    config_class = LSTMConfig
    architecture = "LSTMLanguageModel"

    def _layers(self, config: LSTMConfig, init: Initializer, **stacking: Any) -> LSTM:
        return LSTM(config.embedding_size, config.hidden_size, init, peepholes=config.peepholes, **stacking)


class GRULanguageModel(RecurrentLanguageModel):
    """A language model of GRU layers."""

    model_type = "gru"
    config_class = GRUConfig
    architecture = "GRULanguageModel"

    def _layers(self, config: GRUConfig, init: Initializer, **stacking: Any) -> GRU:
        return GRU(config.embedding_size, config.hidden_size, init, reset_after=config.reset_after, **stacking)
