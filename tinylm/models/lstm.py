"""The LSTM language model: an embedding, layers of LSTM, and the output projection.

Source: Graves 2013, "Generating sequences with recurrent neural networks", arXiv:1308.0850, section 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinylm.autograd import Tensor
from tinylm.errors import TinylmError
from tinylm.nn import LSTM, Dropout, Embedding, Initializer, Linear, RecurrentState

from .language_model import CausalLanguageModel

__all__ = ["LSTMConfig", "LSTMLanguageModel", "StateCache"]


@dataclass(frozen=True)
class LSTMConfig:
    """The settings of an LSTM language model."""

    vocab_size: int
    embedding_size: int = 128
    hidden_size: int = 256
    num_layers: int = 2
    dropout: float = 0.0  # after the embedding, between the layers and before the output projection
    tie_word_embeddings: bool = False  # the output projection is the token embedding; needs equal sizes
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise TinylmError(f"LSTMConfig: {name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.dropout < 1:
            raise TinylmError(f"LSTMConfig: dropout is {self.dropout}, expected 0 <= rate < 1")
        if self.tie_word_embeddings and self.embedding_size != self.hidden_size:
            raise TinylmError(
                f"LSTMConfig: tied embeddings need embedding_size {self.embedding_size} "
                f"to equal hidden_size {self.hidden_size}"
            )


class StateCache:
    """The state of all layers after the tokens seen so far: its size does not grow with them."""

    def __init__(self, state: RecurrentState):
        self.state = state
        self.length = 0


class LSTMLanguageModel(CausalLanguageModel):
    """ids (B, T) to logits (B, T, V); each row starts from a state of zeros, or from the cache's."""

    model_type = "lstm"
    config_class = LSTMConfig
    architecture = "LSTMLanguageModel"

    def __init__(self, config: LSTMConfig, init: Initializer):
        super().__init__(config, init)
        E, H, layers = config.embedding_size, config.hidden_size, config.num_layers
        self.tokens = Embedding(config.vocab_size, E, init, std=1 / math.sqrt(E))
        self.dropout_in = Dropout(config.dropout, site=0)
        self.lstm = LSTM(E, H, init, layers=layers, dropout=config.dropout, site=1)
        self.dropout_out = Dropout(config.dropout, site=layers)
        self.head = (
            None if config.tie_word_embeddings else Linear(H, config.vocab_size, init, std=1 / math.sqrt(H), bias=False)
        )

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight if self.head is None else self.head.weight

    def hidden(self, ids: np.ndarray, cache: StateCache | None = None) -> Tensor:
        x = self.dropout_in(self.tokens(ids))  # (B, T, E)
        x, state = self.lstm(x, cache.state if cache else None)  # (B, T, H)
        if cache:
            cache.state = state
            cache.length += ids.shape[1]
        return self.dropout_out(x)

    def new_cache(self, batch: int) -> StateCache:
        return StateCache(self.lstm.initial_state(batch))
