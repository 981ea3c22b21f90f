"""New models from the settings of a run: what their config.json says, a function for each family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinylm.errors import TinylmError
from tinylm.models import FAMILIES, Model
from tinylm.nn import Initializer

from .settings import TrainSettings

__all__ = ["NEW_MODELS", "new_model"]


def new_model(settings: TrainSettings, vocab_size: int, *, head: str = "language", **changes: Any) -> Model:
    """A new model with its first weights.

    head: what it ends in; see `tinylm.models.Model.architectures`. changes: settings of its config.json that the task
    decides. Raises TinylmError for settings that the family does not take.
    """
    family = FAMILIES[settings.model]
    sizes = NEW_MODELS[settings.model](settings)
    architectures = [family.architecture_with(head)]
    return family.from_settings(
        {**sizes, "vocab_size": vocab_size, **changes, "architectures": architectures}, Initializer(settings.seed)
    )


def _gpt2(settings: TrainSettings) -> dict[str, Any]:
    return {
        "n_positions": settings.context,
        "n_embd": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "embd_pdrop": settings.dropout,
        "resid_pdrop": settings.dropout,
        "initializer_range": settings.initial_std,
        "tie_word_embeddings": settings.tie_embeddings,
    }


def _llama(settings: TrainSettings) -> dict[str, Any]:
    if settings.dropout:
        raise TinylmError(f"dropout={settings.dropout}: the Llama family has none")
    return {
        "hidden_size": settings.width,
        "intermediate_size": round(settings.width / 3) * 8,  # 8/3 C: three matrices have the weights of two of 4 C
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.kv_heads or settings.heads,
        "max_position_embeddings": settings.context,
        "initializer_range": settings.initial_std,
        "tie_word_embeddings": settings.tie_embeddings,
    }


def _gpt_neox(settings: TrainSettings) -> dict[str, Any]:
    head_width = settings.width // settings.heads
    return {
        "hidden_size": settings.width,
        "intermediate_size": 4 * settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "hidden_dropout": settings.dropout,
        "rotary_pct": 0.25 if head_width % 8 == 0 else 1.0,  # whole pairs of columns
        "max_position_embeddings": settings.context,
        "initializer_range": settings.initial_std,
        "tie_word_embeddings": settings.tie_embeddings,
    }


def _recurrent(settings: TrainSettings) -> dict[str, Any]:
    return {
        "embedding_size": settings.embedding,
        "hidden_size": settings.width,
        "num_layers": settings.layers,
        "dropout": settings.dropout,
        "variational_dropout": settings.variational_dropout,
        "tie_word_embeddings": settings.tie_embeddings,
    }


def _bert(settings: TrainSettings) -> dict[str, Any]:
    return {
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": 4 * settings.width,
        "hidden_dropout_prob": settings.dropout,
        "max_position_embeddings": settings.context,
        "initializer_range": settings.initial_std,
    }


def _t5(settings: TrainSettings) -> dict[str, Any]:
    return {
        "d_model": settings.width,
        "d_kv": settings.width // settings.heads,
        "d_ff": 4 * settings.width,
        "num_layers": settings.layers,
        "num_heads": settings.heads,
        "dropout_rate": settings.dropout,
        "tie_word_embeddings": settings.tie_embeddings,
    }


def _bart(settings: TrainSettings) -> dict[str, Any]:
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (
            ("layers", settings.layers),
            ("attention_heads", settings.heads),
            ("ffn_dim", 4 * settings.width),
        )
    }
    return {
        "d_model": settings.width,
        **sides,
        "dropout": settings.dropout,
        "max_position_embeddings": settings.context,
        "init_std": settings.initial_std,
    }


def _marian(settings: TrainSettings) -> dict[str, Any]:
    return {**_bart(settings), "activation_function": "swish", "scale_embedding": True}


NEW_MODELS: dict[str, Callable[[TrainSettings], dict[str, Any]]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "gpt_neox": _gpt_neox,
    "lstm": _recurrent,
    "gru": _recurrent,
    "bert": _bert,
    "t5": _t5,
    "bart": _bart,
    "marian": _marian,
}
