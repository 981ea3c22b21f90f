"""What llama.cpp and Hugging Face call the settings and the tensors of each family: tables, and what differs in layout.

A setting of llama.cpp's stands under "ARCHITECTURE.NAME". The names of tensors are given without ".weight" and
".bias"; "*" stands for the number of a layer.

Source: ggml-org/llama.cpp, `gguf-py/gguf/constants.py` (names), `src/llama-model.cpp` (what its loader reads) and
`convert_hf_to_gguf.py` (the order of rows).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinylm.errors import TinylmError

__all__ = ["ARCHITECTURES", "POOLINGS", "POOLING_TYPE", "Architecture", "RowOrder"]


@dataclass(frozen=True)
class RowOrder:
    """Rows that lie as (heads, parts, rest) in a model folder, and with two of these axes swapped in GGUF.

    heads: the setting of Hugging Face's that says how many heads there are.
    """

    heads: str
    parts: int
    axes: tuple[int, int]

    def in_folder(self, rows: int, heads: int) -> np.ndarray:
        """For each row of GGUF's its place in the folder's. Raises ValueError where they do not divide."""
        return np.arange(rows).reshape(heads, self.parts, -1).swapaxes(*self.axes).reshape(-1)


def pairs(heads: str) -> RowOrder:
    """Rotary pairs: the folder holds the first halves of a head's pairs, then the second; llama.cpp pair by pair."""
    return RowOrder(heads, parts=2, axes=(1, 2))


def by_head(heads: str) -> RowOrder:
    """The folder holds query, key and value of a head, then of the next; llama.cpp the queries of all heads first."""
    return RowOrder(heads, parts=3, axes=(0, 1))


@dataclass(frozen=True)
class Architecture:
    """One family under both names.

    name, model_type: what GGUF and config.json call it. settings: from GGUF's name to Hugging Face's; the value is the
    same. constants: settings that config.json needs and GGUF does not say. passed_over: GGUF's settings that follow
    from others. tensors: from GGUF's name to Hugging Face's. row_orders, transposed: GGUF's names of what lies
    otherwise in a folder. rope_base, partial_rotary: what config.json calls the base of rotary positions, and the part
    of a head that is turned, where those are settings. biases: settings that say whether there are biases, or a layer,
    and a tensor that is there if so. may_tie: whether llama.cpp takes a missing output projection to
    be the embedding. tied: whether the embedding is always the output projection, or there is none.
    """

    name: str
    model_type: str
    settings: Mapping[str, str]
    tensors: Mapping[str, str]
    constants: Mapping[str, object] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ("vocab_size", "rope.dimension_count", "attention.value_length")
    row_orders: Mapping[str, RowOrder] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    rope_base: str | None = None
    partial_rotary: str | None = None
    biases: Mapping[str, str] = field(default_factory=dict)
    may_tie: bool = True
    tied: bool = False

    def head_width(self, settings: Mapping[str, Any]) -> int:
        """The columns of a head. Raises TinylmError where settings of Hugging Face's give none."""
        channels, heads = (settings[self.settings[name]] for name in ("embedding_length", "attention.head_count"))
        width = settings.get("head_dim") or (heads and channels // heads)
        if type(width) is not int or width < 1:
            raise TinylmError(f"{channels!r:.40} channels do not divide into {heads!r:.40} heads")
        return width


_LLAMA_SETTINGS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
_LLAMA_TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "blk.*.attn_norm": "model.layers.*.input_layernorm",
    "blk.*.attn_q": "model.layers.*.self_attn.q_proj",
    "blk.*.attn_k": "model.layers.*.self_attn.k_proj",
    "blk.*.attn_v": "model.layers.*.self_attn.v_proj",
    "blk.*.attn_output": "model.layers.*.self_attn.o_proj",
    "blk.*.ffn_norm": "model.layers.*.post_attention_layernorm",
    "blk.*.ffn_gate": "model.layers.*.mlp.gate_proj",
    "blk.*.ffn_up": "model.layers.*.mlp.up_proj",
    "blk.*.ffn_down": "model.layers.*.mlp.down_proj",
}
_LLAMA_BIASES = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"}
_PAIRS = {"blk.*.attn_q": pairs("num_attention_heads"), "blk.*.attn_k": pairs("num_key_value_heads")}

_GPT2_TENSORS = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
    "blk.*.attn_norm": "transformer.h.*.ln_1",
    "blk.*.attn_qkv": "transformer.h.*.attn.c_attn",
    "blk.*.attn_output": "transformer.h.*.attn.c_proj",
    "blk.*.ffn_norm": "transformer.h.*.ln_2",
    "blk.*.ffn_up": "transformer.h.*.mlp.c_fc",
    "blk.*.ffn_down": "transformer.h.*.mlp.c_proj",
}

# How an encoder makes one vector of a text: llama.cpp's numbers, `enum llama_pooling_type`.
POOLING_TYPE = "pooling_type"
POOLINGS = {"mean": 1, "first": 2}

# Of two with one name in GGUF, the first is the one that a file is read as.
ARCHITECTURES = (
    Architecture(
        "llama",
        "llama",
        _LLAMA_SETTINGS,
        _LLAMA_TENSORS,
        row_orders=_PAIRS,
        rope_base="rope_theta",
        biases=_LLAMA_BIASES,
    ),
    # Without its window, which llama.cpp does not know under this architecture, Mistral is a Llama.
    Architecture(
        "llama",
        "mistral",
        _LLAMA_SETTINGS,
        _LLAMA_TENSORS,
        constants={"sliding_window": None},
        row_orders=_PAIRS,
        rope_base="rope_theta",
        biases=_LLAMA_BIASES,
    ),
    Architecture(
        "qwen2",
        "qwen2",
        _LLAMA_SETTINGS,
        _LLAMA_TENSORS,
        constants={"use_sliding_window": False},
        rope_base="rope_theta",
    ),
    Architecture(
        "gpt2",
        "gpt2",
        {
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "block_count": "n_layer",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
        },
        _GPT2_TENSORS,
        constants={"activation_function": "gelu_new"},
        transposed=frozenset(f"blk.*.{name}" for name in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")),
    ),
    Architecture(
        "gptneox",
        "gpt_neox",
        {
            "context_length": "max_position_embeddings",
            "embedding_length": "hidden_size",
            "block_count": "num_hidden_layers",
            "feed_forward_length": "intermediate_size",
            "attention.head_count": "num_attention_heads",
            "attention.layer_norm_epsilon": "layer_norm_eps",
            "use_parallel_residual": "use_parallel_residual",
            "rope.freq_base": "rotary_emb_base",
        },
        {
            "token_embd": "gpt_neox.embed_in",
            "output_norm": "gpt_neox.final_layer_norm",
            "output": "embed_out",
            "blk.*.attn_norm": "gpt_neox.layers.*.input_layernorm",
            "blk.*.attn_qkv": "gpt_neox.layers.*.attention.query_key_value",
            "blk.*.attn_output": "gpt_neox.layers.*.attention.dense",
            "blk.*.ffn_norm": "gpt_neox.layers.*.post_attention_layernorm",
            "blk.*.ffn_up": "gpt_neox.layers.*.mlp.dense_h_to_4h",
            "blk.*.ffn_down": "gpt_neox.layers.*.mlp.dense_4h_to_h",
        },
        constants={"hidden_act": "gelu", "attention_bias": True},
        row_orders={"blk.*.attn_qkv": by_head("num_attention_heads")},
        rope_base="rotary_emb_base",
        partial_rotary="rotary_pct",
        may_tie=False,
    ),
    # An encoder without a head. llama.cpp calls what stands after it, BERT's pooler, cls, and does without.
    Architecture(
        "bert",
        "bert",
        {
            "context_length": "max_position_embeddings",
            "embedding_length": "hidden_size",
            "block_count": "num_hidden_layers",
            "feed_forward_length": "intermediate_size",
            "attention.head_count": "num_attention_heads",
            "attention.layer_norm_epsilon": "layer_norm_eps",
        },
        {
            "token_embd": "embeddings.word_embeddings",
            "token_embd_norm": "embeddings.LayerNorm",
            "token_types": "embeddings.token_type_embeddings",
            "position_embd": "embeddings.position_embeddings",
            "blk.*.attn_q": "encoder.layer.*.attention.self.query",
            "blk.*.attn_k": "encoder.layer.*.attention.self.key",
            "blk.*.attn_v": "encoder.layer.*.attention.self.value",
            "blk.*.attn_output": "encoder.layer.*.attention.output.dense",
            "blk.*.attn_output_norm": "encoder.layer.*.attention.output.LayerNorm",
            "blk.*.ffn_up": "encoder.layer.*.intermediate.dense",
            "blk.*.ffn_down": "encoder.layer.*.output.dense",
            "blk.*.layer_output_norm": "encoder.layer.*.output.LayerNorm",
            "cls": "pooler.dense",
        },
        constants={"hidden_act": "gelu"},
        passed_over=("vocab_size", POOLING_TYPE),
        biases={"add_pooling_layer": "cls.weight"},
        tied=True,
    ),
)
