"""GPT-NeoX and Pythia: a decoder whose attention and feed-forward run side by side, with rotary positions.

Source: Black et al. 2022, "GPT-NeoX-20B", arXiv:2204.06745.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    ParallelBlock,
    Rotary,
    TransformerBlock,
)

from .activations import ACTIVATIONS
from .base import Model
from .causal_transformer import CausalTransformer
from .config import check_activation, check_divides, check_positive, check_rates, flat_rope_settings
from .labels import LabelSettings
from .stored import Stored, stored_names

__all__ = ["GPTNeoX", "GPTNeoXConfig"]


@dataclass(frozen=True)
class GPTNeoXConfig(LabelSettings):
    """The settings of a GPT-NeoX, under the names of Hugging Face's GPTNeoXConfig; it has no dropout of attention."""

    vocab_size: int
    hidden_size: int = 6144  # channels C
    num_hidden_layers: int = 44
    num_attention_heads: int = 64
    intermediate_size: int = 24576  # channels inside the feed-forward layer
    hidden_act: str = "gelu"
    rotary_pct: float = 0.25  # the part of a head that is turned
    rotary_emb_base: float = 10000.0
    rope_scaling: dict | None = None  # see `tinylm.nn.Rotary`
    hidden_dropout: float = 0.0  # after the embedding and before each residual connection
    max_position_embeddings: int = 2048  # the context, in tokens
    initializer_range: float = 0.02  # standard deviation of the first weights
    layer_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False  # the output projection is the token embedding
    use_parallel_residual: bool = True
    attention_bias: bool = True
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        check_positive(self, "intermediate_size", "max_position_embeddings")
        check_divides(self, "hidden_size", "num_attention_heads")
        check_activation(self, "hidden_act")
        check_rates(self, "hidden_dropout")


class GPTNeoX(CausalTransformer):
    """Token embeddings, L blocks, a last norm, and the output projection."""

    model_type = "gpt_neox"
    config_class = GPTNeoXConfig
    architecture = "GPTNeoXForCausalLM"
    copies = MappingProxyType({"embed_out.weight": "gpt_neox.embed_in.weight"})
    skipped = (".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq")  # constants in older files

    def __init__(self, config: GPTNeoXConfig, init: Initializer):
        super().__init__(config, init)
        C, std = config.hidden_size, config.initializer_range
        turned = int(C // config.num_attention_heads * config.rotary_pct)
        scaling = {"original_max_position_embeddings": config.max_position_embeddings, **(config.rope_scaling or {})}
        rotary = Rotary(turned, base=config.rotary_emb_base, scaling=scaling)
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.dropout = Dropout(config.hidden_dropout, site=0)
        self.blocks = [self._block(config, init, rotary, site=1 + 2 * i) for i in range(config.num_hidden_layers)]
        self.norm = LayerNorm(C, init, eps=config.layer_norm_eps)
        self.head = None if config.tie_word_embeddings else Linear(C, config.vocab_size, init, std=std, bias=False)

    @staticmethod
    def _block(config: GPTNeoXConfig, init: Initializer, rotary: Rotary, site: int) -> TransformerBlock:
        C, eps, std = config.hidden_size, config.layer_norm_eps, config.initializer_range
        stds: dict[str, Any] = {"std": std, "projection_std": std}
        biases: dict[str, Any] = {"qkv_bias": config.attention_bias, "projection_bias": config.attention_bias}
        kind = ParallelBlock if config.use_parallel_residual else TransformerBlock
        return kind(
            LayerNorm(C, init, eps=eps),
            MultiHeadAttention(C, config.num_attention_heads, init, causal=True, rotary=rotary, **biases, **stds),
            LayerNorm(C, init, eps=eps),
            FeedForward(C, config.intermediate_size, init, activation=ACTIVATIONS[config.hidden_act], **stds),
            dropout=config.hidden_dropout,
            site=site,
        )

    @property
    def context(self) -> int:
        return self.config.max_position_embeddings

    def embed(self, ids: np.ndarray, positions: np.ndarray) -> Tensor:
        return self.dropout(self.tokens(ids))

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, NAMES, heads={"blocks.*.attention.qkv": self.config.num_attention_heads})

    def full_name(self, stored: str) -> str:
        return "embed_out.weight" if stored == "lm_head.weight" else stored  # as transformers 5 calls it

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Model:
        names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        return super().from_settings(flat_rope_settings(settings, names), init)


# Our names of the layers, and Hugging Face's.
NAMES = {
    "tokens": "gpt_neox.embed_in",
    "blocks.*.norm1": "gpt_neox.layers.*.input_layernorm",
    "blocks.*.attention.qkv": "gpt_neox.layers.*.attention.query_key_value",
    "blocks.*.attention.projection": "gpt_neox.layers.*.attention.dense",
    "blocks.*.norm2": "gpt_neox.layers.*.post_attention_layernorm",
    "blocks.*.feed_forward.up": "gpt_neox.layers.*.mlp.dense_h_to_4h",
    "blocks.*.feed_forward.down": "gpt_neox.layers.*.mlp.dense_4h_to_h",
    "norm": "gpt_neox.final_layer_norm",
    "head": "embed_out",
}
