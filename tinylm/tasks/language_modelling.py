"""Language modelling: predict each token of a text from those before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.data import Corpus, LanguageModelBatches, Progress, TokenSplit, tokenize_corpus
from tinylm.metrics import LanguageMetrics
from tinylm.models import CausalLanguageModel
from tinylm.text import Tokenizer

from .settings import TrainSettings

__all__ = ["LanguageModelling", "evaluate_split"]

Batch = tuple[np.ndarray, np.ndarray]  # ids and targets, (B, T) each

# Logits of this many numbers at a time while evaluating: 64 MB of float32.
EVALUATION_LOGITS = 1 << 24


class LanguageModelling:
    """The task (see `tinylm.training.Task`): random windows of the training split, all of the validation split.

    batch_size: windows a step; context: tokens a window.
    """

    def __init__(
        self,
        train: TokenSplit,
        validation: TokenSplit,
        *,
        batch_size: int,
        context: int,
        seed: int = 0,
        label_smoothing: float = 0.0,
    ):
        self.batch_size, self.context, self.label_smoothing = batch_size, context, label_smoothing
        self.train, self.validation = train, validation
        self._batches = LanguageModelBatches(train, batch_size=batch_size, context=context, seed=seed)

    @classmethod
    def load(
        cls,
        corpus: Corpus,
        tokenizer: Tokenizer,
        settings: TrainSettings,
        cache: Path | None = None,
        *,
        progress: Progress | None = None,
    ) -> LanguageModelling:
        """The task on a corpus: its tokens, from the cache or made now, with the last share held out."""
        tokens = tokenize_corpus(corpus, tokenizer, cache, workers=settings.workers, progress=progress)
        train, validation = tokens.split(settings.validation)
        return cls(
            train,
            validation,
            batch_size=settings.batch_size,
            context=settings.context,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
        )

    def batch(self, step: int, rows: slice) -> Batch:
        return self._batches.train_batch(step, rows)

    def loss(self, model: CausalLanguageModel, batch: Batch) -> Tensor:
        return model.loss(*batch, label_smoothing=self.label_smoothing)

    def count(self, batch: Batch) -> int:
        return int((batch[1] != K.IGNORE).sum())

    def tokens(self, batch: Batch) -> int:
        return batch[0].size

    def evaluate(self, model: CausalLanguageModel) -> dict[str, float]:
        if len(self.validation) < 2:
            return {}
        return evaluate_split(model, self.validation, context=self.context)


def evaluate_split(model: CausalLanguageModel, split: TokenSplit, *, context: int) -> dict[str, float]:
    """Loss, perplexity, accuracy, bits per token and per byte over a whole split, each token predicted once.

    The windows of `context` tokens do not overlap, so that a token sees half a context on average: a little
    pessimistic, and the way the field quotes it.
    """
    metrics = LanguageMetrics()
    rows = max(EVALUATION_LOGITS // (context * model.config.vocab_size), 1)
    batches = LanguageModelBatches(split, batch_size=rows, context=min(context, len(split) - 1), seed=0)
    for ids, targets in batches.validation_batches(rows):
        with no_grad():
            logits = model(ids).data
        flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
        losses = K.cross_entropy(flat, wanted)
        metrics.add(losses, flat.argmax(axis=-1) == wanted, wanted != K.IGNORE)
    return metrics.result(split.count_bytes(1))  # nothing predicts the first token
