"""What a model takes: parameters, operations and memory, counted on the modules themselves without their weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.autograd import Parameter
from tinylm.errors import TinylmError, nearest
from tinylm.formats import open_model, read_model_config
from tinylm.models import FAMILIES, Model
from tinylm.nn import (
    CrossAttention,
    Embedding,
    Initializer,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    RelativeBias,
    RMSNorm,
)

__all__ = ["Sizes", "machines", "measure_sizes", "model_without_weights", "read_sized_config"]

# Bytes of a parameter while AdamW trains it in float32: the weight, its gradient, and two means.
TRAINED = 4 + 4 + 8


class _Weightless(Initializer):
    """Parameters of any shape that take no memory: all their numbers are one."""

    def __init__(self) -> None:
        super().__init__(seed=None)

    def normal(self, *shape: int, std: float) -> Parameter:
        return self.zeros(*shape)

    def uniform(self, *shape: int, bound: float) -> Parameter:
        return self.zeros(*shape)

    def zeros(self, *shape: int) -> Parameter:
        return Parameter(np.broadcast_to(self.dtype.type(0), shape))

    ones = zeros


def model_without_weights(settings: Mapping[str, Any]) -> Model:
    """The model of a config.json as a tree of modules whose weights take no memory. Raises TinylmError."""
    family = FAMILIES.get(str(settings.get("model_type")))
    if family is None:
        name = str(settings.get("model_type"))
        raise TinylmError(f"model_type is {name!r}{nearest(name, FAMILIES)}")
    return family.from_settings(settings, _Weightless())


def read_sized_config(model: str | PathLike[str], changes: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a model or run folder, a .gguf or .npz file, a config.json, or a family by its name alone.

    changes: "NAME=VALUE" each, the value as in JSON or a text. Raises TinylmError.
    """
    path = Path(model)
    if str(model) in FAMILIES and not path.exists():
        settings: dict[str, Any] = {"model_type": str(model)}
    elif path.is_file() and path.name != "config.json":
        settings = dict(open_model(path).settings)
    else:
        folder = path.parent if path.name == "config.json" else path
        settings = read_model_config(folder / "best" if (folder / "best").is_dir() else folder)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise TinylmError(f"--set takes NAME=VALUE, received {change!r}")
        try:
            settings[name] = json.loads(text)
        except ValueError:
            settings[name] = text
    return settings


@dataclass(frozen=True)
class Sizes:
    """What a model takes at a context and a batch; an encoder-decoder's tokens are pairs of one source and one target.

    parameters; looked_up: those of embeddings, of which a token reads a row. flops: floating-point operations of the
    forward pass for a token, two for a multiplication and an addition; of training, three times as many.
    cache_numbers: keys and values that a token leaves, or 0. activations: numbers that training holds for a token.
    """

    parameters: int
    looked_up: int
    flops: float
    cache_numbers: int
    activations: int
    context: int
    batch: int

    @property
    def training_flops(self) -> float:
        """Of one token, forward and backward."""
        return 3 * self.flops

    def inference_bytes(self, bytes_per_weight: float = 4) -> float:
        """Weights, and the caches of a whole batch at its whole context in float32."""
        return self.parameters * bytes_per_weight + 4 * self.cache_numbers * self.context * self.batch

    @property
    def training_bytes(self) -> float:
        """Weights, gradients, AdamW's means and the activations of a batch, all in float32."""
        return self.parameters * TRAINED + 4 * self.activations * self.context * self.batch


def machines(total: float, gigabytes: float) -> int:
    """How many machines with so much memory (10^9 bytes each) hold so many bytes."""
    return math.ceil(total / (gigabytes * 1e9))


def measure_sizes(model: Model, *, context: int, batch: int = 1) -> Sizes:
    """Count what a model takes; its weights are not looked at.

    The matrices cost 2 operations a weight and token. Attention costs 2 (D + E) H for each key that a query sees: all
    of the context, half of it on average where it is causal, or the window.
    Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
    """
    modules = dict(model.named_modules())
    owners = [(modules[name.rpartition(".")[0]], parameter) for name, parameter in model.named_parameters()]
    tables = sum(p.size for owner, p in owners if isinstance(owner, (Embedding, RelativeBias)))
    matrices = sum(p.size for owner, p in owners if p.ndim == 2 and not isinstance(owner, (Embedding, RelativeBias)))
    head = _tied_head(model)
    found = list({id(module): module for module in modules.values()}.values())
    attentions = [m for m in found if isinstance(m, (MultiHeadAttention, CrossAttention))]
    return Sizes(
        parameters=sum(p.size for _, p in owners),
        looked_up=tables,
        flops=2.0 * (matrices + head) + sum(_attention_flops(attention, context) for attention in attentions),
        cache_numbers=sum(_cached(attention) for attention in attentions),
        activations=sum(_kept(module) for module in found) + head // _channels(model),
        context=context,
        batch=batch,
    )


def _tied_head(model: Any) -> int:
    """The numbers of the embedding where it is an output projection as well."""
    weight = getattr(model, "head_weight", None)
    if weight is None:
        weight = getattr(getattr(model, "head", None), "weight", None)
    return weight.size if weight is not None and weight is model.tokens.weight else 0


def _channels(model: Any) -> int:
    return model.tokens.weight.shape[1]


def _attention_flops(attention: MultiHeadAttention | CrossAttention, context: int) -> float:
    widths = attention.heads * 2 * _head_width(attention)
    if isinstance(attention, CrossAttention):
        return 2.0 * widths * context
    left, right = attention.sight["window"] or (None, None)
    seen = (context + 1) / 2 if attention.sight["causal"] else float(context)
    if left is not None:
        seen = min(seen, left + 1 + (0 if attention.sight["causal"] else right or 0))
    return 2.0 * widths * seen


def _head_width(attention: MultiHeadAttention | CrossAttention) -> int:
    if isinstance(attention, MultiHeadAttention):
        return attention.head_width
    return attention.query.weight.shape[0] // attention.heads


def _cached(attention: MultiHeadAttention | CrossAttention) -> int:
    """Keys and values that a token leaves in a cache."""
    if isinstance(attention, CrossAttention):
        return sum(attention.key_value.parts)
    return sum(attention.qkv.parts[1:]) if attention.sight["causal"] else 0


def _kept(module: Any) -> int:
    """The numbers that a layer gives for a token, each of which waits for the backward pass.

    An activation inside a feed-forward layer gives as many as the matrix before it; counted with the matrix after it.
    """
    if isinstance(module, Linear):
        return module.weight.shape[0]
    if isinstance(module, (LayerNorm, RMSNorm)):
        return module.weight.shape[0]
    if isinstance(module, (MultiHeadAttention, CrossAttention)):
        return module.projection.weight.shape[1]
    down = getattr(module, "down", None)
    return down.weight.shape[1] if isinstance(down, Linear) else 0
