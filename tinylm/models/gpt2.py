"""GPT-2: a decoder of pre-norm Transformer blocks with learned positions.

Source: Radford et al. 2019, "Language models are unsupervised multitask learners"; Vaswani et al. 2017,
arXiv:1706.03762. Read it from the bottom up: the model, its settings. The blocks are in `tinylm.nn`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.nn import (
    Dropout,
    Embedding,
    FeedForward,
    Initializer,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    TransformerBlock,
)

from .activations import ACTIVATIONS
from .causal_transformer import CausalTransformer
from .config import check_activation, check_divides, check_positive, check_rates
from .labels import LabelSettings
from .stored import Stored, stored_names

__all__ = ["GPT2", "GPT2Config"]


@dataclass(frozen=True)
class GPT2Config(LabelSettings):
    """The settings of a GPT-2, under the names of Hugging Face's GPT2Config.

    Its attn_pdrop has no counterpart: the attention kernel never holds the probabilities that it would drop.
    """

    vocab_size: int
    n_positions: int = 1024  # the context, in tokens
    n_embd: int = 768  # channels C
    n_layer: int = 12
    n_head: int = 12  # each of width C / n_head
    n_inner: int | None = None  # channels inside the feed-forward layer; 4 C where None
    activation_function: str = "gelu_new"
    embd_pdrop: float = 0.0  # dropout after the embeddings
    resid_pdrop: float = 0.0  # dropout before each residual connection
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02  # standard deviation of the first weights
    tie_word_embeddings: bool = True  # the output projection is the token embedding
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
        check_divides(self, "n_embd", "n_head")
        check_activation(self, "activation_function")
        check_rates(self, "embd_pdrop", "resid_pdrop")


class GPT2(CausalTransformer):
    """Token and position embeddings, L blocks, a last norm, and the output projection."""

    model_type = "gpt2"
    config_class = GPT2Config
    architecture = "GPT2LMHeadModel"
    copies = MappingProxyType({"lm_head.weight": "transformer.wte.weight"})
    skipped = (".attn.bias", ".attn.masked_bias")  # the constant causal mask in older files
    unsupported = MappingProxyType(
        {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
    )

    def __init__(self, config: GPT2Config, init: Initializer):
        super().__init__(config, init)
        C, std = config.n_embd, config.initializer_range
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.positions = Embedding(config.n_positions, C, init, std=std)
        self.dropout = Dropout(config.embd_pdrop, site=0)
        self.blocks = [self._block(config, init, site=1 + 2 * layer) for layer in range(config.n_layer)]
        self.norm = LayerNorm(C, init, eps=config.layer_norm_epsilon)
        self.head = None if config.tie_word_embeddings else Linear(C, config.vocab_size, init, std=std, bias=False)

    @staticmethod
    def _block(config: GPT2Config, init: Initializer, site: int) -> TransformerBlock:
        C, eps = config.n_embd, config.layer_norm_epsilon
        # Two sums join the residual stream in each block: scaled so that its variance stays (section 2.3).
        std = config.initializer_range
        stds: dict[str, Any] = {"std": std, "projection_std": std / math.sqrt(2 * config.n_layer)}
        activation = ACTIVATIONS[config.activation_function]
        return TransformerBlock(
            LayerNorm(C, init, eps=eps),
            MultiHeadAttention(C, config.n_head, init, causal=True, **stds),
            LayerNorm(C, init, eps=eps),
            FeedForward(C, config.n_inner or 4 * C, init, activation=activation, **stds),
            dropout=config.resid_pdrop,
            site=site,
        )

    @property
    def context(self) -> int:
        return self.config.n_positions

    def embed(self, ids: np.ndarray, positions: np.ndarray) -> Tensor:
        end = int(positions.max(initial=-1)) + 1
        if end > self.context:
            raise ValueError(f"GPT2: {end} tokens do not fit into a context of {self.context}")
        return self.dropout(self.tokens(ids) + self.positions(positions))

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, NAMES, transposed=TRANSPOSED)

    def full_name(self, stored: str) -> str:
        return stored if stored.startswith(("transformer.", "lm_head.")) else f"transformer.{stored}"


# Our names of the layers, and Hugging Face's.
NAMES = {
    "tokens": "transformer.wte",
    "positions": "transformer.wpe",
    "blocks.*.norm1": "transformer.h.*.ln_1",
    "blocks.*.attention.qkv": "transformer.h.*.attn.c_attn",
    "blocks.*.attention.projection": "transformer.h.*.attn.c_proj",
    "blocks.*.norm2": "transformer.h.*.ln_2",
    "blocks.*.feed_forward.up": "transformer.h.*.mlp.c_fc",
    "blocks.*.feed_forward.down": "transformer.h.*.mlp.c_proj",
    "norm": "transformer.ln_f",
    "head": "lm_head",
}
# GPT-2's published weights keep the matrices of the blocks as (inputs, outputs).
TRANSPOSED = {name for name in NAMES if "attention" in name or "feed_forward" in name}
