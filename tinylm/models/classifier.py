"""Causal language models with a head for classes: GPT2ForSequenceClassification and its kin."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinylm.autograd import Tensor
from tinylm.nn import Embedding, Initializer

from .base import Model
from .heads import LAST, MEAN, PooledHead, label_loss
from .stored import Stored

if TYPE_CHECKING:
    from .language_model import CausalLanguageModel

__all__ = ["CausalClassifier", "classifier_name"]


def classifier_name(architecture: str) -> str:
    """What Hugging Face calls the model with a head for classes, from the name of the language model."""
    return re.sub(r"(LMHeadModel|ForCausalLM|LanguageModel)$", "ForSequenceClassification", architecture)


class CausalClassifier(Model):
    """The hidden states of a causal language model, and the logits (B, labels) of a text from them.

    A Transformer's last token has seen all others, and speaks for the text; of a recurrent model, whose state forgets,
    the mean over the tokens does. body: the language model, which loses its output projection.
    """

    def __init__(self, body: CausalLanguageModel, init: Initializer):
        super().__init__(body.config, init)
        self.body, self.model_type = body, body.model_type
        self.architecture = classifier_name(body.architecture)
        self.skipped = body.skipped
        recurrent = body.context is None
        channels = body.head_weight.shape[1]
        std = 1 / math.sqrt(channels) if recurrent else self.config.initializer_range
        body.head = None  # type: ignore[attr-defined]
        self.head = PooledHead(channels, self.config.labels, init, pooling=MEAN if recurrent else LAST, std=std)

    @property
    def context(self) -> int | None:
        """How many tokens the model can look at; None where there is no limit."""
        return self.body.context

    @property
    def tokens(self) -> Embedding:
        """The embedding of the tokens."""
        return self.body.tokens

    @property
    def gradient_checkpointing(self) -> bool | None:  # type: ignore[override]
        return self.body.gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, value: bool | None) -> None:
        self.body.gradient_checkpointing = value

    def forward(self, ids: np.ndarray, key_mask: np.ndarray | None = None) -> Tensor:
        """The logits (B, labels) of texts (B, T). key_mask: (B, T) bool, False for padding, which is on the right.

        Causal models see nothing of what follows a token, so that padding on the right changes nothing before it.
        """
        if key_mask is not None and not (key_mask[:, 1:] <= key_mask[:, :-1]).all():
            raise ValueError(f"{self.architecture}: padding belongs on the right of a text")
        return self.head(self.body.hidden(ids), key_mask)

    def folder_names(self) -> Mapping[str, Stored]:
        names = {f"body.{name}": stored for name, stored in self.body.folder_names().items()}
        return names | {"head.classifier.weight": Stored(("score.weight",))}

    def full_name(self, stored: str) -> str:
        return stored if stored.startswith("score.") else self.body.full_name(stored)

    def loss(
        self, ids: np.ndarray, targets: Any, *, label_smoothing: float = 0.0, key_mask: np.ndarray | None = None
    ) -> Tensor:
        """The mean loss of the labels; see `label_loss`."""
        return label_loss(self(ids, key_mask), targets, self.config.problem_type, label_smoothing=label_smoothing)
