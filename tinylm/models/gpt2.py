"""GPT-2: a decoder of pre-norm Transformer blocks with learned positions.

Source: Radford et al. 2019, "Language models are unsupervised multitask learners"; Vaswani et al. 2017,
arXiv:1706.03762. Read it from the bottom up: the model, its settings. The blocks are in `tinylm.nn`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinylm.autograd import Tensor, checkpoint
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.nn import AttentionCache, Dropout, Embedding, Initializer, LayerNorm, Linear, TransformerBlock

from .language_model import CausalLanguageModel, StoredName

__all__ = ["GPT2", "GPT2Config", "KeyValueCache"]

# Hugging Face's names of activations; two stand for the tanh form of GELU.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": partial(F.gelu, exact=True),
    "gelu_new": F.gelu,
    "gelu_pytorch_tanh": F.gelu,
    "relu": F.relu,
}


@dataclass(frozen=True)
class GPT2Config:
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
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            if getattr(self, name) < 1:
                raise TinylmError(f"GPT2Config: {name} is {getattr(self, name)}, expected at least 1")
        if self.n_embd % self.n_head:
            raise TinylmError(f"GPT2Config: n_embd {self.n_embd} does not divide into n_head {self.n_head} heads")
        if self.activation_function not in ACTIVATIONS:
            raise TinylmError(
                f"GPT2Config: activation_function is {self.activation_function!r}, supported: {', '.join(ACTIVATIONS)}"
            )
        for name in ("embd_pdrop", "resid_pdrop"):
            if not 0 <= getattr(self, name) < 1:
                raise TinylmError(f"GPT2Config: {name} is {getattr(self, name)}, expected 0 <= rate < 1")


class KeyValueCache:
    """The keys and values of all layers for the tokens seen so far."""

    def __init__(self, layers: list[AttentionCache]):
        self.layers = layers

    @property
    def length(self) -> int:
        return self.layers[0].length


class GPT2(CausalLanguageModel):
    """Token and position embeddings, L blocks, a last norm, and the output projection."""

    model_type = "gpt2"
    config_class = GPT2Config
    architecture = "GPT2LMHeadModel"
    gradient_checkpointing = False

    def __init__(self, config: GPT2Config, init: Initializer):
        super().__init__(config, init)
        C, std = config.n_embd, config.initializer_range
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.positions = Embedding(config.n_positions, C, init, std=std)
        self.dropout = Dropout(config.embd_pdrop, site=0)
        self.blocks = [
            TransformerBlock(
                C,
                config.n_head,
                config.n_inner or 4 * C,
                init,
                causal=True,
                activation=ACTIVATIONS[config.activation_function],
                dropout=config.resid_pdrop,
                site=1 + 2 * layer,
                eps=config.layer_norm_epsilon,
                std=std,
                # Two sums join the residual stream in each block: scaled so that its variance stays (section 2.3).
                projection_std=std / math.sqrt(2 * config.n_layer),
            )
            for layer in range(config.n_layer)
        ]
        self.norm = LayerNorm(C, init, eps=config.layer_norm_epsilon)
        self.head = None if config.tie_word_embeddings else Linear(C, config.vocab_size, init, std=std, bias=False)

    @property
    def context(self) -> int:
        return self.config.n_positions

    @property
    def head_weight(self) -> Tensor:
        return self.tokens.weight if self.head is None else self.head.weight

    def hidden(self, ids: np.ndarray, cache: KeyValueCache | None = None) -> Tensor:
        start = cache.length if cache else 0
        end = start + ids.shape[1]
        if end > self.context:
            raise ValueError(f"GPT2: {end} tokens do not fit into a context of {self.context}")
        x = self.tokens(ids) + self.positions(np.arange(start, end))  # (B, T, C)
        x = self.dropout(x)
        for index, block in enumerate(self.blocks):
            if cache:
                x = block(x, cache=cache.layers[index])
            else:
                x = checkpoint(block, x) if self.gradient_checkpointing else block(x)
        return self.norm(x)

    def new_cache(self, batch: int) -> KeyValueCache:
        heads = self.config.n_head
        width, dtype = self.config.n_embd // heads, self.norm.weight.dtype
        return KeyValueCache([AttentionCache(batch, heads, self.context, width, dtype) for _ in self.blocks])

    def folder_names(self) -> dict[str, StoredName]:
        names: dict[str, StoredName] = {}
        for name, _ in self.named_parameters():
            first, _, rest = name.partition(".")
            if first == "blocks":
                number, _, rest = rest.partition(".")
                layer, _, kind = rest.rpartition(".")
                # GPT-2's published weights keep the matrices of the blocks as (inputs, outputs).
                stored = f"transformer.h.{number}.{BLOCK_NAMES[layer]}.{kind}"
                names[name] = stored, kind == "weight" and "norm" not in layer
            else:
                names[name] = MODEL_NAMES[name], False
        return names

    @classmethod
    def full_name(cls, stored: str) -> str | None:
        if stored.endswith((".attn.bias", ".attn.masked_bias")):  # the constant causal mask in older files
            return None
        return stored if stored.startswith(("transformer.", "lm_head.")) else f"transformer.{stored}"

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> GPT2:
        for name, supported in UNSUPPORTED.items():
            if settings.get(name, supported) != supported:
                raise TinylmError(f"GPT-2 config: {name}={settings[name]} is not supported, only {supported}")
        return super().from_settings(settings, init)


# Settings of Hugging Face's that would change the result, with the one value that is computed here.
UNSUPPORTED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}

# Our names of the layers of a block, and Hugging Face's.
BLOCK_NAMES = {
    "norm1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.projection": "attn.c_proj",
    "norm2": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}
MODEL_NAMES = {
    "tokens.weight": "transformer.wte.weight",
    "positions.weight": "transformer.wpe.weight",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
