"""BERT and DistilBERT: encoders, with a head for what they are used for.

Source: Devlin et al. 2019, arXiv:1810.04805; Sanh et al. 2019, arXiv:1910.01108 (DistilBERT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from tinylm.autograd import Tensor
from tinylm.errors import TinylmError
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
from .config import check_activation, check_divides, check_positive, check_rates
from .encoder import Encoder
from .heads import ClassificationHead, Head, MaskedLanguageHead, SpanHead, TokenHead
from .labels import LabelSettings
from .stored import Stored, stored_names

__all__ = ["Bert", "BertConfig", "DistilBert", "DistilBertConfig"]

# What follows the family's name in the name of the class, by the kind of the head.
SUFFIXES = {
    "none": "Model",
    "masked_language": "ForMaskedLM",
    "classification": "ForSequenceClassification",
    "tokens": "ForTokenClassification",
    "spans": "ForQuestionAnswering",
}


@dataclass(frozen=True)
class EncoderConfig(LabelSettings):
    """The settings that the encoders share, under Hugging Face's names."""

    vocab_size: int
    max_position_embeddings: int = 512  # the context, in tokens
    initializer_range: float = 0.02  # standard deviation of the first weights
    pad_token_id: int | None = 0


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """The settings of a BERT, under the names of Hugging Face's BertConfig; it has no dropout of attention."""

    hidden_size: int = 768  # channels C
    num_hidden_layers: int = 12
    num_attention_heads: int = 12  # each of width C / heads
    intermediate_size: int = 3072  # channels inside the feed-forward layer
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1  # after the embeddings and before each residual connection
    classifier_dropout: float | None = None  # before the head; as the other where None
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    add_pooling_layer: bool = True  # whether a model without a head has a pooler

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
        check_positive(self, "intermediate_size", "max_position_embeddings", "type_vocab_size", "labels")
        check_divides(self, "hidden_size", "num_attention_heads")
        check_activation(self, "hidden_act")
        check_rates(self, "hidden_dropout_prob", "head_dropout")

    @property
    def head_dropout(self) -> float:
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout


@dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """The settings of a DistilBERT, under the names of Hugging Face's DistilBertConfig; a BERT's are properties."""

    n_layers: int = 6
    n_heads: int = 12  # each of width dim / heads
    dim: int = 768  # channels C
    hidden_dim: int = 3072  # channels inside the feed-forward layer
    dropout: float = 0.1  # after the embeddings and before each residual connection
    activation: str = "gelu"
    seq_classif_dropout: float = 0.2  # before the head

    def __post_init__(self) -> None:
        check_positive(self, "vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings")
        check_positive(self, "labels")
        check_divides(self, "dim", "n_heads")
        check_activation(self, "activation")
        check_rates(self, "dropout", "seq_classif_dropout")

    hidden_size = property(lambda self: self.dim)
    num_hidden_layers = property(lambda self: self.n_layers)
    num_attention_heads = property(lambda self: self.n_heads)
    intermediate_size = property(lambda self: self.hidden_dim)
    hidden_act = property(lambda self: self.activation)
    hidden_dropout_prob = property(lambda self: self.dropout)
    head_dropout = property(lambda self: self.seq_classif_dropout)
    type_vocab_size = property(lambda self: 0)
    layer_norm_eps = property(lambda self: 1e-12)
    add_pooling_layer = property(lambda self: False)


class Bert(Encoder):
    """An encoder with a head: "none", "masked_language", "classification", "tokens" or "spans".

    Without a head it also has the pooler that BERT was trained with, which reads the first token's hidden state.
    """

    model_type = "bert"
    config_class: ClassVar[type] = BertConfig
    family: ClassVar[str] = "Bert"
    names: ClassVar[Mapping[str, str | tuple[str, ...]]]  # ours, and Hugging Face's, `prefix` left out
    prefix: ClassVar[str] = "bert."  # of the names of all but the head, where there is one
    copies = MappingProxyType(
        {
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        }
    )
    head_names: ClassVar[tuple[str, ...]] = ("cls.", "classifier", "qa_outputs")
    pool_activation: ClassVar[str] = "tanh"
    unsupported = MappingProxyType(
        {
            "position_embedding_type": "absolute",
            "is_decoder": False,
            "add_cross_attention": False,
            "tie_word_embeddings": True,
        }
    )

    def __init__(self, config: Any, init: Initializer, head: str = "none"):
        super().__init__(config, init)
        if head not in SUFFIXES:
            raise TinylmError(f"head is {head!r}, expected one of {', '.join(SUFFIXES)}")
        self.architecture = self.family + SUFFIXES[head]
        C, eps, std = config.hidden_size, config.layer_norm_eps, config.initializer_range
        self.tokens = Embedding(config.vocab_size, C, init, std=std)
        self.positions = Embedding(config.max_position_embeddings, C, init, std=std)
        types = config.type_vocab_size
        self.token_types = Embedding(types, C, init, std=std) if types else None
        self.norm = LayerNorm(C, init, eps=eps)
        self.dropout = Dropout(config.hidden_dropout_prob, site=0)
        self.blocks = [self._block(config, init, site=1 + 2 * i) for i in range(config.num_hidden_layers)]
        self.pooler = Linear(C, C, init, std=std) if head == "none" and config.add_pooling_layer else None
        self.head = self._head(head, config, init)
        # Constants, and what BERT was trained with beside masked language modelling.
        pooler = () if self.pooler or head == "classification" else (f"{self.prefix}pooler.", "pooler.")
        self.skipped = ("embeddings.position_ids", "cls.seq_relationship.", *pooler)

    @staticmethod
    def _block(config: Any, init: Initializer, site: int) -> TransformerBlock:
        C, eps = config.hidden_size, config.layer_norm_eps
        stds: dict[str, Any] = {"std": config.initializer_range, "projection_std": config.initializer_range}
        return TransformerBlock(
            LayerNorm(C, init, eps=eps),
            MultiHeadAttention(C, config.num_attention_heads, init, causal=False, **stds),
            LayerNorm(C, init, eps=eps),
            FeedForward(C, config.intermediate_size, init, activation=ACTIVATIONS[config.hidden_act], **stds),
            pre_norm=False,
            dropout=config.hidden_dropout_prob,
            site=site,
        )

    def _head(self, kind: str, config: Any, init: Initializer) -> Head | None:
        C, std = config.hidden_size, config.initializer_range
        drop: dict[str, Any] = {"dropout": config.head_dropout, "site": 1 + 2 * config.num_hidden_layers, "std": std}
        if kind == "masked_language":
            return MaskedLanguageHead(
                self.tokens.weight,
                init,
                activation=ACTIVATIONS[config.hidden_act],
                eps=config.layer_norm_eps,
                std=std,
            )
        if kind == "classification":
            drop |= {"activation": ACTIVATIONS[self.pool_activation], "problem": config.problem_type}
            return ClassificationHead(C, config.labels, init, **drop)
        if kind == "tokens":
            return TokenHead(C, config.labels, init, **drop)
        return SpanHead(C, init, std=std) if kind == "spans" else None

    def pooled(self, x: Tensor) -> Tensor:
        """BERT's pooled output (B, C) from the hidden states (B, T, C) of a model without a head."""
        if self.pooler is None:
            raise TinylmError(f"{self.architecture} has no pooler")
        return ACTIVATIONS[self.pool_activation](self.pooler(x[:, 0]))

    def folder_names(self) -> dict[str, Stored]:
        return stored_names(self, {name: self._prefixed(stored) for name, stored in self.names.items()})

    def full_name(self, stored: str) -> str:
        name = re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", stored))  # as the oldest files call norms
        return self._prefixed(name.removeprefix(self.prefix))

    def _prefixed(self, names: Any) -> Any:
        """Names as this model's folder has them: a prefix for all but the head, where there is one."""
        if isinstance(names, tuple):
            return tuple(self._prefixed(name) for name in names)
        return names if self.head is None or names.startswith(self.head_names) else self.prefix + names

    @classmethod
    def architectures(cls) -> dict[str, str]:
        return {kind: cls.family + suffix for kind, suffix in SUFFIXES.items()}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], init: Initializer) -> Bert:
        architecture = (settings.get("architectures") or [f"{cls.family}Model"])[0]
        kinds = {name: kind for kind, name in cls.architectures().items()}
        if architecture not in kinds:
            raise TinylmError(f"the architecture {architecture!r} is not supported, only {', '.join(kinds)}")
        count = settings.get("num_labels")
        if isinstance(count, int) and not settings.get("id2label"):
            settings = {**settings, "id2label": {str(i): f"LABEL_{i}" for i in range(count)}}
        return cls(cls.read_config(settings), init, kinds[architecture])


class DistilBert(Bert):
    """A BERT of half the layers, without token types and pooler."""

    model_type = "distilbert"
    config_class = DistilBertConfig
    family = "DistilBert"
    prefix = "distilbert."
    head_names = ("vocab_", "pre_classifier", "classifier", "qa_outputs")
    pool_activation = "relu"
    unsupported = MappingProxyType({"sinusoidal_pos_embds": False, "tie_word_embeddings": True})
    copies = MappingProxyType({"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"})


Bert.names = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    "blocks.*.attention.qkv": tuple(f"encoder.layer.*.attention.self.{name}" for name in ("query", "key", "value")),
    "blocks.*.attention.projection": "encoder.layer.*.attention.output.dense",
    "blocks.*.norm1": "encoder.layer.*.attention.output.LayerNorm",
    "blocks.*.feed_forward.up": "encoder.layer.*.intermediate.dense",
    "blocks.*.feed_forward.down": "encoder.layer.*.output.dense",
    "blocks.*.norm2": "encoder.layer.*.output.LayerNorm",
    "pooler": "pooler.dense",
    "head.pooler": "pooler.dense",
    "head.transform": "cls.predictions.transform.dense",
    "head.norm": "cls.predictions.transform.LayerNorm",
    "head.bias": "cls.predictions.bias",
    "head.classifier": "classifier",
    "head.ends": "qa_outputs",
}
DistilBert.names = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
    "blocks.*.attention.qkv": tuple(f"transformer.layer.*.attention.{name}_lin" for name in "qkv"),
    "blocks.*.attention.projection": "transformer.layer.*.attention.out_lin",
    "blocks.*.norm1": "transformer.layer.*.sa_layer_norm",
    "blocks.*.feed_forward.up": "transformer.layer.*.ffn.lin1",
    "blocks.*.feed_forward.down": "transformer.layer.*.ffn.lin2",
    "blocks.*.norm2": "transformer.layer.*.output_layer_norm",
    "head.pooler": "pre_classifier",
    "head.transform": "vocab_transform",
    "head.norm": "vocab_layer_norm",
    "head.bias": "vocab_projector.bias",
    "head.classifier": "classifier",
    "head.ends": "qa_outputs",
}
