"""BART and Marian: the encoder-decoder of 2017, with learned positions or sines.

Source: Vaswani et al. 2017, arXiv:1706.03762; Lewis et al. 2019, arXiv:1910.13461 (BART); Junczys-Dowmunt et al. 2018,
arXiv:1804.00344 (Marian).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.nn import (
    CrossAttention,
    CrossBlock,
    Dropout,
    Embedding,
    FeedForward,
    Initializer,
    LayerNorm,
    MultiHeadAttention,
    TransformerBlock,
)

from .activations import ACTIVATIONS
from .config import check_activation, check_divides, check_positive, check_rates
from .encoder_decoder import EncoderDecoder, Stack
from .stored import Stored, stored_names

__all__ = ["Bart", "BartConfig", "Marian", "MarianConfig"]


@dataclass(frozen=True)
class BartConfig:
    """The settings of a BART, under the names of Hugging Face's BartConfig.

    Its attention_dropout, activation_dropout and layerdrop have no counterpart.
    """

    vocab_size: int
    d_model: int = 1024  # channels C
    encoder_layers: int = 12
    decoder_layers: int = 12
    encoder_attention_heads: int = 16
    decoder_attention_heads: int = 16
    encoder_ffn_dim: int = 4096  # channels inside the feed-forward layer
    decoder_ffn_dim: int = 4096
    activation_function: str = "gelu"
    dropout: float = 0.1  # after the embeddings and before each residual connection
    max_position_embeddings: int = 1024  # the context of each side, in tokens
    init_std: float = 0.02  # standard deviation of the first weights
    scale_embedding: bool = False  # token embeddings are multiplied by sqrt(C)
    pad_token_id: int = 1
    bos_token_id: int | None = 0
    eos_token_id: int | list | None = 2
    decoder_start_token_id: int = 2  # what the decoder reads first
    is_encoder_decoder: bool = True

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "d_model", "max_position_embeddings")
        for side in ("encoder", "decoder"):
            check_positive(self, f"{side}_layers", f"{side}_attention_heads", f"{side}_ffn_dim")
            check_divides(self, "d_model", f"{side}_attention_heads")
        check_activation(self, "activation_function")
        check_rates(self, "dropout")


@dataclass(frozen=True)
class MarianConfig(BartConfig):
    """The settings of a Marian translation model."""

    scale_embedding: bool = False
    pad_token_id: int = 58100
    bos_token_id: int | None = None
    eos_token_id: int | list | None = 0
    decoder_start_token_id: int = 58100


class BartStack(Stack):
    """One side: the token embeddings that both share, positions, and post-norm blocks.

    learned: positions are rows of a table, the first of which is number 2, and a norm follows; else they are sines.
    """

    def __init__(self, config: BartConfig, init: Initializer, tokens: Embedding, *, learned: bool, site: int):
        C, self.context = config.d_model, config.max_position_embeddings
        self.weight, self.padding = tokens.weight, config.pad_token_id
        self.scale = math.sqrt(C) if config.scale_embedding else 1.0
        self.positions = Embedding(self.context + OFFSET, C, init, std=config.init_std) if learned else None
        self.norm = LayerNorm(C, init) if learned else None
        self.sines = None if learned else sines(self.context, C)
        self.dropout = Dropout(config.dropout, site)

    def embed(self, ids: np.ndarray, start: int) -> Tensor:
        end = start + ids.shape[1]
        if end > self.context:
            raise ValueError(f"{end} tokens do not fit into a context of {self.context}")
        # The embedding of padding, which also begins Marian's targets, is not trained as such; as in transformers.
        padding = self.weight.data[self.padding]
        x = F.where((ids == self.padding)[..., None], padding, F.embedding(self.weight, ids))  # (B, T, C)
        x = x if self.scale == 1.0 else x * x.dtype.type(self.scale)
        if self.positions is not None and self.norm is not None:
            x = self.norm(x + self.positions(np.arange(start, end) + OFFSET))
        elif self.sines is not None:
            x = x + self.sines[start:end].astype(x.dtype)
        return self.dropout(x)


# BART's table of positions begins with two rows that no token has.
OFFSET = 2


def sines(length: int, channels: int) -> np.ndarray:
    """(length, C) float32: for each position the sines of its angles, then their cosines.

    Angle i of C / 2 is position / 10000 ** (2 i / C). Source: Vaswani et al. 2017, section 3.5.
    """
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, channels, 2) / channels)
    return np.concatenate([np.sin(angles), np.cos(angles[:, : channels // 2])], axis=1).astype(np.float32)


class Bart(EncoderDecoder):
    """Token embeddings, which are the output projection as well, an encoder and a decoder."""

    model_type = "bart"
    config_class: ClassVar[type] = BartConfig
    architecture = "BartForConditionalGeneration"
    unsupported = MappingProxyType(
        {"normalize_before": False, "add_final_layer_norm": False, "tie_word_embeddings": True}
    )
    copies = MappingProxyType(
        dict.fromkeys(
            ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"],
            "model.shared.weight",
        )
    )
    learned: ClassVar[bool] = True  # whether positions are

    def __init__(self, config: BartConfig, init: Initializer):
        super().__init__(config, init)
        self.tokens = Embedding(config.vocab_size, config.d_model, init, std=config.init_std)
        self.encoder = BartStack(config, init, self.tokens, learned=self.learned, site=0)
        self.encoder.blocks = [_encoder_block(config, init, 1 + 2 * i) for i in range(config.encoder_layers)]
        site = 1 + 2 * config.encoder_layers
        self.decoder = BartStack(config, init, self.tokens, learned=self.learned, site=site)
        self.decoder.blocks = [_decoder_block(config, init, site + 1 + 3 * i) for i in range(config.decoder_layers)]
        self.final_logits_bias = init.zeros(1, config.vocab_size)  # a part of the weights, but not trained
        self.final_logits_bias.requires_grad = False

    @property
    def context(self) -> int:
        return self.config.max_position_embeddings

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight

    @property
    def head_bias(self) -> Any:
        return self.final_logits_bias.data[0]

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, NAMES)


class Marian(Bart):
    """A BART with sines as positions, and no norm after the embeddings."""

    model_type = "marian"
    config_class = MarianConfig
    architecture = "MarianMTModel"
    learned = False
    unsupported = MappingProxyType({**Bart.unsupported, "share_encoder_decoder_embeddings": True})
    skipped = ("model.encoder.embed_positions.", "model.decoder.embed_positions.")  # the sines


def _encoder_block(config: BartConfig, init: Initializer, site: int) -> TransformerBlock:
    C, stds = config.d_model, _stds(config)
    return TransformerBlock(
        LayerNorm(C, init),
        MultiHeadAttention(C, config.encoder_attention_heads, init, causal=False, **stds),
        LayerNorm(C, init),
        FeedForward(C, config.encoder_ffn_dim, init, activation=ACTIVATIONS[config.activation_function], **stds),
        pre_norm=False,
        dropout=config.dropout,
        site=site,
    )


def _decoder_block(config: BartConfig, init: Initializer, site: int) -> CrossBlock:
    C, heads, stds = config.d_model, config.decoder_attention_heads, _stds(config)
    return CrossBlock(
        LayerNorm(C, init),
        MultiHeadAttention(C, heads, init, causal=True, **stds),
        LayerNorm(C, init),
        CrossAttention(C, heads, init, **stds),
        LayerNorm(C, init),
        FeedForward(C, config.decoder_ffn_dim, init, activation=ACTIVATIONS[config.activation_function], **stds),
        pre_norm=False,
        dropout=config.dropout,
        site=site,
    )


def _stds(config: BartConfig) -> dict[str, Any]:
    return {"std": config.init_std, "projection_std": config.init_std}


# Our names of the layers, and Hugging Face's.
BLOCK = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.projection": ("self_attn.out_proj",),
    "norm1": ("self_attn_layer_norm",),
    "cross_attention.query": ("encoder_attn.q_proj",),
    "cross_attention.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross_attention.projection": ("encoder_attn.out_proj",),
    "cross_norm": ("encoder_attn_layer_norm",),
    "feed_forward.up": ("fc1",),
    "feed_forward.down": ("fc2",),
    "norm2": ("final_layer_norm",),
}
NAMES: dict[str, str | tuple[str, ...]] = {
    "tokens": "model.shared",
    "final_logits_bias": "final_logits_bias",
    **{f"{side}.positions": f"model.{side}.embed_positions" for side in ("encoder", "decoder")},
    **{f"{side}.norm": f"model.{side}.layernorm_embedding" for side in ("encoder", "decoder")},
    **{
        f"{side}.blocks.*.{ours}": tuple(f"model.{side}.layers.*.{name}" for name in names)
        for side in ("encoder", "decoder")
        for ours, names in BLOCK.items()
    },
}
