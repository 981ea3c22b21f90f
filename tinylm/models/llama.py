"""Llama and its kin: a decoder with rotary positions, RMS norms, SwiGLU and grouped heads.

Source: Touvron et al. 2023, arXiv:2307.09288 (Llama 2); Llama Team 2024, arXiv:2407.21783 (Llama 3); Jiang et al. 2023,
arXiv:2310.06825 (Mistral: a sliding window); Yang et al. 2024, arXiv:2407.10671 (Qwen2: biases of queries, keys and
values).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.errors import TinylmError
from tinylm.nn import (
    Embedding,
    Initializer,
    Linear,
    MultiHeadAttention,
    RMSNorm,
    Rotary,
    SwiGLU,
    TransformerBlock,
)

from .base import Model
from .causal_transformer import CausalTransformer
from .config import check_divides, check_positive, flat_rope_settings
from .labels import LabelSettings
from .stored import Stored, stored_names

__all__ = ["Llama", "LlamaConfig", "Mistral", "MistralConfig", "Qwen2", "Qwen2Config"]

Window = tuple[int | None, int | None] | None


@dataclass(frozen=True)
class LlamaConfig(LabelSettings):
    """The settings of a Llama, under the names of Hugging Face's LlamaConfig.

    Its attention_dropout has no counterpart: the attention kernel never holds the probabilities that it would drop.
    """

    vocab_size: int
    hidden_size: int = 4096  # channels C
    intermediate_size: int = 11008  # channels inside the feed-forward layer
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None  # as many as heads where None
    head_dim: int | None = None  # C / heads where None
    max_position_embeddings: int = 2048  # the context, in tokens
    rope_theta: float = 10000.0  # base of the rotary frequencies
    rope_scaling: dict | None = None  # see `tinylm.nn.Rotary`
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02  # standard deviation of the first weights
    tie_word_embeddings: bool = False  # the output projection is the token embedding
    attention_bias: bool = False  # of all four projections of attention
    mlp_bias: bool = False
    hidden_act: str = "silu"
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list | None = None

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
        check_positive(self, "num_attention_heads", "max_position_embeddings")
        if self.head_dim is None:
            check_divides(self, "hidden_size", "num_attention_heads")
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        if self.num_key_value_heads is None:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        check_positive(self, "num_key_value_heads", "head_dim")
        check_divides(self, "num_attention_heads", "num_key_value_heads")
        if self.hidden_act not in ("silu", "swish"):
            raise TinylmError(f"{type(self).__name__}: hidden_act is {self.hidden_act!r}, supported: silu")

    def window(self, layer: int) -> Window:
        """How many tokens before and after itself a token sees in this layer; None for no bound."""
        return None


@dataclass(frozen=True)
class MistralConfig(LlamaConfig):
    """The settings of a Mistral."""

    num_key_value_heads: int | None = 8
    sliding_window: int | None = 4096  # how many tokens a token sees, itself among them; None for all before it

    def window(self, layer: int) -> Window:
        return None if self.sliding_window is None else (self.sliding_window - 1, None)


@dataclass(frozen=True)
class Qwen2Config(LlamaConfig):
    """The settings of a Qwen2 or Qwen2.5."""

    use_sliding_window: bool = False
    sliding_window: int | None = 4096
    max_window_layers: int = 28  # the layers from this one on have the window
    layer_types: list | None = None  # or these: "full_attention" or "sliding_attention" for each layer

    def window(self, layer: int) -> Window:
        slides = layer >= self.max_window_layers if self.layer_types is None else self.layer_types[layer] != FULL
        if not (self.use_sliding_window and slides) or self.sliding_window is None:
            return None
        return self.sliding_window - 1, None


FULL = "full_attention"


class Llama(CausalTransformer):
    """Token embeddings, L pre-norm blocks of grouped attention and SwiGLU, a last norm, and the output projection."""

    model_type = "llama"
    config_class = LlamaConfig
    architecture = "LlamaForCausalLM"
    unsupported = MappingProxyType({"pretraining_tp": 1})
    copies = MappingProxyType({"lm_head.weight": "model.embed_tokens.weight"})
    skipped = (".rotary_emb.inv_freq",)  # a constant in older files
    qkv_bias: ClassVar[bool] = False  # whether the family has these biases, whatever attention_bias says

    def __init__(self, config: LlamaConfig, init: Initializer):
        super().__init__(config, init)
        C, std = config.hidden_size, config.initializer_range
        assert config.head_dim is not None  # __post_init__ has filled it in
        scaling = {"original_max_position_embeddings": config.max_position_embeddings, **(config.rope_scaling or {})}
        rotary = Rotary(config.head_dim, base=config.rope_theta, scaling=scaling)
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.blocks = [
            TransformerBlock(
                RMSNorm(C, init, eps=config.rms_norm_eps),
                MultiHeadAttention(
                    C,
                    config.num_attention_heads,
                    init,
                    causal=True,
                    kv_heads=config.num_key_value_heads,
                    head_width=config.head_dim,
                    window=config.window(layer),
                    rotary=rotary,
                    qkv_bias=self.qkv_bias or config.attention_bias,
                    projection_bias=config.attention_bias,
                    std=std,
                    projection_std=std,
                ),
                RMSNorm(C, init, eps=config.rms_norm_eps),
                SwiGLU(C, config.intermediate_size, init, bias=config.mlp_bias, std=std, projection_std=std),
            )
            for layer in range(config.num_hidden_layers)
        ]
        self.norm = RMSNorm(C, init, eps=config.rms_norm_eps)
        self.head = None if config.tie_word_embeddings else Linear(C, config.vocab_size, init, std=std, bias=False)

    @property
    def context(self) -> int:
        return self.config.max_position_embeddings

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, NAMES)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Model:
        return super().from_settings(flat_rope_settings(settings), init)


class Mistral(Llama):
    """A Llama whose tokens see a window."""

    model_type = "mistral"
    config_class = MistralConfig
    architecture = "MistralForCausalLM"


class Qwen2(Llama):
    """A Llama whose queries, keys and values have biases."""

    model_type = "qwen2"
    config_class = Qwen2Config
    architecture = "Qwen2ForCausalLM"
    qkv_bias = True


# Our names of the layers, and Hugging Face's.
NAMES: dict[str, str | tuple[str, ...]] = {
    "tokens": "model.embed_tokens",
    "blocks.*.norm1": "model.layers.*.input_layernorm",
    "blocks.*.attention.qkv": tuple(f"model.layers.*.self_attn.{name}_proj" for name in "qkv"),
    "blocks.*.attention.projection": "model.layers.*.self_attn.o_proj",
    "blocks.*.norm2": "model.layers.*.post_attention_layernorm",
    "blocks.*.feed_forward.gate_up": ("model.layers.*.mlp.gate_proj", "model.layers.*.mlp.up_proj"),
    "blocks.*.feed_forward.down": "model.layers.*.mlp.down_proj",
    "norm": "model.norm",
    "head": "lm_head",
}
