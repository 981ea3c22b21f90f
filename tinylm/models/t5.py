"""T5: an encoder-decoder with pre-norm RMS norms and relative positions, without biases.

Source: Raffel et al. 2020, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202 (the gated feed-forward layer of 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.nn import (
    CrossAttention,
    CrossBlock,
    Dropout,
    Embedding,
    FeedForward,
    GatedFeedForward,
    Initializer,
    Linear,
    Module,
    MultiHeadAttention,
    RelativeBias,
    RMSNorm,
    TransformerBlock,
)

from .activations import ACTIVATIONS
from .config import check_positive, check_rates
from .encoder_decoder import EncoderDecoder, Stack
from .stored import Stored, stored_names

__all__ = ["T5", "T5Config"]

# What Hugging Face calls the activation of a gated layer, where it means another than it says.
GATED = {"gelu": "gelu_new"}


@dataclass(frozen=True)
class T5Config:
    """The settings of a T5, under the names of Hugging Face's T5Config; it has no dropout within layers."""

    vocab_size: int
    d_model: int = 512  # channels C
    d_kv: int = 64  # the width of a head
    d_ff: int = 2048  # channels inside the feed-forward layer
    num_layers: int = 6
    num_decoder_layers: int | None = None  # as many as num_layers where None
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1  # after the embeddings, before each residual connection and at the end
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0  # multiplies the standard deviations of the first weights
    feed_forward_proj: str = "relu"  # or "gated-gelu"
    tie_word_embeddings: bool = True  # the output projection is the token embedding, and is scaled by 1 / sqrt(C)
    pad_token_id: int = 0
    bos_token_id: int | None = None
    eos_token_id: int | list | None = 1
    decoder_start_token_id: int = 0  # what the decoder reads first
    is_encoder_decoder: bool = True

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
        if self.num_decoder_layers is None:
            object.__setattr__(self, "num_decoder_layers", self.num_layers)
        check_positive(self, "num_decoder_layers", "relative_attention_num_buckets", "relative_attention_max_distance")
        check_rates(self, "dropout_rate")
        if self.activation not in ACTIVATIONS:
            kinds = ", ".join(ACTIVATIONS)
            raise TinylmError(
                f"T5Config: feed_forward_proj is {self.feed_forward_proj!r}, supported: {kinds}, and these with gated-"
            )

    @property
    def gated(self) -> bool:
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        name = self.feed_forward_proj.removeprefix("gated-")
        return GATED.get(name, name) if self.gated else name


class T5Stack(Stack):
    """One side: the token embeddings that both share, a bias that all blocks share, pre-norm blocks, and a norm."""

    def __init__(self, config: T5Config, init: Initializer, tokens: Embedding, *, decodes: bool, site: int):
        self.weight = tokens.weight
        self.dropout, self.last_dropout = Dropout(config.dropout_rate, site), Dropout(config.dropout_rate, site + 1)
        self.positions = RelativeBias(
            config.num_heads,
            init,
            buckets=config.relative_attention_num_buckets,
            max_distance=config.relative_attention_max_distance,
            both_ways=not decodes,
            std=config.initializer_factor * config.d_model**-0.5,
        )
        make, layers = (
            (_decoder_block, config.num_decoder_layers or 0) if decodes else (_encoder_block, config.num_layers)
        )
        self.blocks = [make(config, init, site + 2 + 3 * i) for i in range(layers)]
        self.norm = RMSNorm(config.d_model, init, eps=config.layer_norm_epsilon)

    def embed(self, ids: np.ndarray, start: int) -> Tensor:
        return self.dropout(F.embedding(self.weight, ids))

    def bias(self, queries: int, keys: int) -> Tensor:
        return self.positions(queries, keys)

    def last(self, x: Tensor) -> Tensor:
        return self.last_dropout(self.norm(x))


class T5(EncoderDecoder):
    """Token embeddings, an encoder, a decoder, and an output projection of its own unless it is the embedding."""

    model_type = "t5"
    config_class = T5Config
    architecture = "T5ForConditionalGeneration"
    copies = MappingProxyType(
        dict.fromkeys(["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"], "shared.weight")
    )
    # A bias that the first files have, and no layer reads.
    skipped = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.",)

    def __init__(self, config: T5Config, init: Initializer):
        super().__init__(config, init)
        C, std = config.d_model, config.initializer_factor
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.encoder = T5Stack(config, init, self.tokens, decodes=False, site=0)
        self.decoder = T5Stack(config, init, self.tokens, decodes=True, site=2 + 3 * config.num_layers)
        self.head = None if config.tie_word_embeddings else Linear(C, config.vocab_size, init, std=std, bias=False)

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight if self.head is None else self.head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        scale = hidden.dtype.type(self.config.d_model**-0.5)
        return super().logits(hidden * scale if self.head is None else hidden)

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, NAMES)

    @classmethod
    def read_config(cls, settings: Mapping[str, Any]) -> T5Config:
        # transformers 5 says of all that they are tied, and of T5 1.1, which is not, that it does not scale.
        tied = settings.get("scale_decoder_outputs", settings.get("tie_word_embeddings", True))
        return super().read_config({**settings, "tie_word_embeddings": tied})


def _encoder_block(config: T5Config, init: Initializer, site: int) -> TransformerBlock:
    norms, attention, feed_forward = _parts(config, init, causal=False)
    return TransformerBlock(norms[0], attention, norms[1], feed_forward, dropout=config.dropout_rate, site=site)


def _decoder_block(config: T5Config, init: Initializer, site: int) -> CrossBlock:
    norms, attention, feed_forward = _parts(config, init, causal=True)
    cross = CrossAttention(
        config.d_model, config.num_heads, init, head_width=config.d_kv, scale=1.0, bias=False, **_stds(config)
    )
    rest: dict[str, Any] = {"dropout": config.dropout_rate, "site": site}
    return CrossBlock(norms[0], attention, norms[2], cross, norms[1], feed_forward, **rest)


def _parts(config: T5Config, init: Initializer, *, causal: bool) -> tuple[list[RMSNorm], MultiHeadAttention, Module]:
    """Norms, self-attention and feed-forward of a block. The scores are not scaled: the first weights see to that."""
    C = config.d_model
    norms = [RMSNorm(C, init, eps=config.layer_norm_epsilon) for _ in range(3 if causal else 2)]
    plain: dict[str, Any] = {"qkv_bias": False, "projection_bias": False, "scale": 1.0, **_stds(config)}
    attention = MultiHeadAttention(C, config.num_heads, init, causal=causal, head_width=config.d_kv, **plain)
    kind: Any = GatedFeedForward if config.gated else FeedForward
    stds = {"std": config.initializer_factor * C**-0.5, "projection_std": config.initializer_factor * config.d_ff**-0.5}
    feed_forward = kind(C, config.d_ff, init, activation=ACTIVATIONS[config.activation], bias=False, **stds)
    return norms, attention, feed_forward


def _stds(config: T5Config) -> dict[str, Any]:
    factor, inner = config.initializer_factor, config.num_heads * config.d_kv
    return {"std": factor * config.d_model**-0.5, "projection_std": factor * inner**-0.5}


def _side(side: str, layers: Mapping[str, tuple[str, ...]]) -> dict[str, str | tuple[str, ...]]:
    """The table of one side, from that of the layers of its blocks."""
    table: dict[str, str | tuple[str, ...]] = {
        f"{side}.positions": f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias",
        f"{side}.norm": f"{side}.final_layer_norm",
    }
    for ours, names in layers.items():
        table[f"{side}.blocks.*.{ours}"] = tuple(f"{side}.block.*.layer.{name}" for name in names)
    return table


def _layers(feed_forward: int) -> dict[str, tuple[str, ...]]:
    """Our names of the layers of a block, and Hugging Face's; feed_forward: the number of that layer."""
    dense = f"{feed_forward}.DenseReluDense"
    return {
        "norm1": ("0.layer_norm",),
        "attention.qkv": ("0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v"),
        "attention.projection": ("0.SelfAttention.o",),
        "norm2": (f"{feed_forward}.layer_norm",),
        "feed_forward.up": (f"{dense}.wi",),
        "feed_forward.gate_up": (f"{dense}.wi_0", f"{dense}.wi_1"),
        "feed_forward.down": (f"{dense}.wo",),
    }


CROSS = {
    "cross_norm": ("1.layer_norm",),
    "cross_attention.query": ("1.EncDecAttention.q",),
    "cross_attention.key_value": ("1.EncDecAttention.k", "1.EncDecAttention.v"),
    "cross_attention.projection": ("1.EncDecAttention.o",),
}
NAMES: dict[str, str | tuple[str, ...]] = {
    "tokens": "shared",
    **_side("encoder", _layers(1)),
    **_side("decoder", {**_layers(2), **CROSS}),
    "head": "lm_head",
}
