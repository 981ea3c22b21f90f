"""Language modelling: predict each token of a text from those before it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.data import Batches, LanguageModelBatches, PackedBatches, TokenSplit
from tinylm.metrics import Scores, language
from tinylm.models import CausalLanguageModel

from .text import Source, draw_batches

__all__ = ["EVALUATION_CONTEXT", "PACKINGS", "LanguageModelling", "evaluate_split", "measure_split"]

Batch = tuple[Any, ...]  # ids and targets, (B, T) each, and the number of the document where documents are kept apart

PACKINGS: dict[str, Callable[..., Batches]] = {
    "stream": LanguageModelBatches,
    "documents": PackedBatches,
    "separate": partial(PackedBatches, separate=True),
}

# Logits of this many numbers at a time while evaluating: 64 MB of float32.
EVALUATION_LOGITS = 1 << 24
# The window, in tokens, of a model that could look at any number.
EVALUATION_CONTEXT = 512


class LanguageModelling:
    """The task (see `tinylm.training.Task`): windows of the training splits, all of the validation splits.

    batch_size: windows a step; context: tokens a window; packing: what a window is, a name from `PACKINGS`. With
    several sources each row draws its own by the weights, and the loss of each is among the metrics.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int,
        context: int,
        seed: int = 0,
        label_smoothing: float = 0.0,
        packing: str = "stream",
    ):
        self.batch_size, self.context, self.label_smoothing = batch_size, context, label_smoothing
        self.evaluation_context = context
        self.sources = tuple(sources)
        self._batches, each = draw_batches(
            sources, PACKINGS[packing], batch_size=batch_size, context=context, seed=seed
        )
        self.messages = [found.summary() for found in each if isinstance(found, PackedBatches)]

    @property
    def begins_documents(self) -> bool:
        """Whether a document begins somewhere in what is trained on, so that a model learns how one does."""
        return any(s.train.ends is not None and (s.train.ends < len(s.train)).any() for s in self.sources)

    def batch(self, step: int, rows: slice) -> Batch:
        return self._batches.train_batch(step, rows)

    def loss(self, model: CausalLanguageModel, batch: Batch) -> Tensor:
        return model.loss(*batch, label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        return int((batch[1] != K.IGNORE).sum())

    def tokens(self, batch: Batch) -> int:
        return batch[0].size

    def evaluate(self, model: CausalLanguageModel) -> dict[str, float]:
        """The metrics of all held-out tokens together; of several sources also the loss of each, "loss/NAME"."""
        held_out = {source.name: source.validation for source in self.sources if len(source.validation) > 1}
        if len(self.sources) == 1:
            return (
                evaluate_split(model, self.sources[0].validation, context=self.evaluation_context) if held_out else {}
            )
        found = {name: measure_split(model, split, context=self.evaluation_context) for name, split in held_out.items()}
        if not found:
            return {}
        losses = {f"loss/{name}": scores.result()["loss"] for name, scores in found.items()}
        return reduce(operator.add, found.values()).result() | losses


def evaluate_split(model: CausalLanguageModel, split: TokenSplit, *, context: int) -> dict[str, float]:
    """Loss, perplexity, accuracy, bits per token and per byte over a whole split, each token predicted once.

    The windows of `context` tokens do not overlap, so that a token sees half a context on average: a little
    pessimistic, and the way the field quotes it.
    """
    return measure_split(model, split, context=context).result()


def measure_split(model: CausalLanguageModel, split: TokenSplit, *, context: int) -> Scores:
    """What `evaluate_split` sums up, window by window; nothing predicts the first token."""
    rows = max(EVALUATION_LOGITS // (context * model.config.vocab_size), 1)
    batches = LanguageModelBatches(split, batch_size=rows, context=min(context, len(split) - 1), seed=0)
    found = []
    for ids, targets in batches.validation_batches(rows):
        with no_grad():
            logits = model(ids).data
        losses = K.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)).reshape(targets.shape)
        counted = targets != K.IGNORE
        n_bytes = split.byte_lengths[np.where(counted, targets, 0)]
        found.append(language(losses, logits.argmax(axis=-1) == targets, counted, n_bytes))
    return reduce(operator.add, found)
