"""Labels for texts, and for pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinylm.autograd import no_grad
from tinylm.data import pad_rows
from tinylm.errors import TinylmError
from tinylm.models import CausalClassifier, Encoder, Model
from tinylm.models.heads import MULTI_LABEL, ClassificationHead
from tinylm.text import Inputs, PipelineTokenizer, Tokenizer, Truncation

from .logits import probabilities

__all__ = ["Labelled", "class_probabilities", "classifier_inputs", "classify", "encode_text", "is_classifier"]

NOTHING = np.zeros(0, np.int32)
THRESHOLD = 0.5  # of several labels, those that are likelier than not


@dataclass(frozen=True)
class Labelled:
    """What a classifier says of a text: the likeliest label, or of several labels those likelier than not.

    labels: the likeliest first, none where several may hold and none does; probabilities: of every label.
    """

    labels: tuple[str, ...]
    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        """The likeliest label."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.probabilities[self.label]


def classify(
    model: Any, tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32
) -> list[Labelled]:
    """The labels of texts, or of pairs of them, in their order. batch_size: texts at a time.

    A text that is longer than the model can look at is cut. Raises TinylmError for a model without labels.
    """
    if not is_classifier(model):
        raise TinylmError(f"{model.architecture} gives no labels to texts; a model of the task classification does")
    if pairs is not None and len(pairs) != len(texts):
        raise TinylmError(f"classify: {len(texts)} texts and {len(pairs)} second ones; expected as many")
    rows = [
        encode_text(tokenizer, text, pair, model.context)
        for text, pair in zip(texts, [None] * len(texts) if pairs is None else pairs, strict=True)
    ]
    names, several = model.config.label_names, model.config.problem_type == MULTI_LABEL
    found = []
    for p in class_probabilities(model, rows, batch_size=batch_size):
        order = np.argsort(-p, kind="stable")
        chosen = [number for number in order if p[number] > THRESHOLD] if several else order[:1]
        named = {names[number]: float(p[number]) for number in order}
        found.append(Labelled(tuple(names[number] for number in chosen), named))
    return found


def is_classifier(model: Model) -> bool:
    """Whether a model gives labels to whole texts."""
    return isinstance(model, CausalClassifier) or (
        isinstance(model, Encoder) and isinstance(model.head, ClassificationHead)
    )


def encode_text(tokenizer: Tokenizer, text: str, pair: str | None, context: int | None) -> Inputs:
    """A text, or two, as a classifier reads them: (T,) ids and types, cut to the context, with special tokens.

    Where the tokenizer has no special tokens between two texts, a line break parts them. A text of no tokens becomes
    the one that ends texts, or the first of the vocabulary.
    """
    parts = [text] if pair is None else [text + "\n", pair]
    if isinstance(tokenizer, PipelineTokenizer) and (pair is None or len(tokenizer.surround(NOTHING, NOTHING).ids)):
        truncation = None if context is None else Truncation(context)
        found = tokenizer.inputs(text, pair, truncation=truncation, padding=None)
    else:
        found = _plain(np.concatenate([tokenizer.encode(part) for part in parts])[:context])
    return found if len(found.ids) else _plain(np.array([tokenizer.end_of_text or 0], np.int32))


def _plain(ids: np.ndarray) -> Inputs:
    return Inputs(ids, np.zeros_like(ids), np.ones(len(ids), bool))


def classifier_inputs(
    model: Any, rows: Sequence[Inputs], length: int | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The ids (B, T) of texts, and what else the model is told of them. length: T, or that of the longest."""
    ids, mask = pad_rows([row.ids for row in rows], model.config.pad_token_id or 0, length)
    seen = {} if mask.all() else {"key_mask": mask}
    if isinstance(model, Encoder) and model.token_types is not None:
        seen["token_types"] = pad_rows([row.type_ids for row in rows], 0, length)[0]
    return ids, seen


def class_probabilities(model: Any, rows: Sequence[Inputs], *, batch_size: int = 32) -> np.ndarray:
    """The probability of each label, (N, labels) float64: together 1, or where several may hold, each for itself.

    Texts of like lengths go through the model together.
    """
    order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
    found = np.zeros((len(rows), model.config.labels))
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        ids, seen = classifier_inputs(model, [rows[row] for row in chosen])
        with no_grad():
            logits = model(ids, **seen).data
        found[chosen] = _sigmoid(logits) if model.config.problem_type == MULTI_LABEL else probabilities(logits)
    return found


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))
