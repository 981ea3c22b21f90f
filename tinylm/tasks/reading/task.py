"""What the trainer takes of reading: batches of windows, the loss of where answers begin and end, EM and F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor
from tinylm.autograd import functional as F
from tinylm.data import LengthBuckets
from tinylm.inference import reader_inputs, span_logits
from tinylm.models import Encoder
from tinylm.text import Window

__all__ = ["ReadingTask", "mark_answers"]

Batch = tuple[list[Window], int, np.ndarray]  # windows, the length they are padded to, targets (B, 2)


def mark_answers(windows: Sequence[Window], start: int | None, end: int) -> np.ndarray:
    """(N, 2) for each window the first and last token of the answer, characters start up to end of the context.

    The first token, twice, where the window does not hold all of the answer, or there is none (start None).
    """
    targets = np.zeros((len(windows), 2), np.int64)
    if start is None:
        return targets
    for row, window in zip(targets, windows, strict=True):
        places = np.flatnonzero(window.texts == 1)
        begins, ends = window.offsets[places].T
        inside = np.flatnonzero((ends > start) & (begins < end))
        if len(inside) and begins[inside[0]] <= start and ends[inside[-1]] >= end:
            row[:] = places[inside[0]], places[inside[-1]]
    return targets


class ReadingTask:
    """The task (see `tinylm.training.Task`).

    windows, targets: to train on; held_out: the same of what is held out. measure: the metrics of a model beside its
    loss.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        targets: np.ndarray,
        held_out: tuple[Sequence[Window], np.ndarray],
        *,
        batch_size: int,
        seed: int = 0,
        label_smoothing: float = 0.0,
        measure: Callable[[Any], Mapping[str, float]] = lambda model: {},
    ):
        self.windows, self.targets, self.held_out = windows, targets, held_out
        self.batch_size, self.label_smoothing, self._measure = batch_size, label_smoothing, measure
        self.lengths = np.array([len(window.ids) for window in windows])
        self._buckets = LengthBuckets(self.lengths, batch_size=batch_size, seed=seed)

    def batch(self, step: int, rows: slice) -> Batch:
        """Slices of a batch are as long as the whole of it."""
        numbers = self._buckets.rows(step)
        chosen = numbers[rows]
        return [self.windows[number] for number in chosen], int(self.lengths[numbers].max()), self.targets[chosen]

    def loss(self, model: Encoder, batch: Batch) -> Tensor:
        """Padding is no place where an answer could be: a window's loss is the same in any batch."""
        windows, length, targets = batch
        ids, seen = reader_inputs(model, windows, length)
        logits = model(ids, **seen)  # (B, T, 2)
        if "key_mask" in seen:
            logits = F.where(seen["key_mask"][..., None], logits, np.float32(-np.inf))
        ends = [
            F.cross_entropy(logits[:, :, at], targets[:, at], label_smoothing=self.label_smoothing) for at in (0, 1)
        ]
        return (ends[0] + ends[1]) * 0.5

    def count(self, batch: Batch) -> int:
        return len(batch[0])

    def tokens(self, batch: Batch) -> int:
        return sum(len(window.ids) for window in batch[0])

    def evaluate(self, model: Encoder) -> dict[str, float]:
        """The loss over all windows that are held out, and the metrics of the answers."""
        windows, targets = self.held_out
        if not windows:
            return {}
        losses = [
            K.cross_entropy(np.ascontiguousarray(logits.T, np.float32), wanted).mean()
            for logits, wanted in zip(span_logits(model, windows), targets, strict=True)
        ]
        return {"loss": float(np.mean(losses)), **self._measure(model)}
