"""Teacher forcing: each token of a target is predicted from its source, and from the true tokens before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.autograd import Tensor, no_grad
from tinylm.data import IGNORE, LengthBuckets, pad_rows
from tinylm.errors import TinylmError
from tinylm.metrics import LanguageMetrics

__all__ = ["Examples", "TeacherForcing", "continued", "examples_of"]

VALIDATION_ROWS = 32  # examples at a time,
VALIDATION_LOGITS = 1 << 24  # and of their logits at most so many numbers, 64 MB, unless one example has more


@dataclass(frozen=True)
class Examples:
    """What is read, and what is to be predicted, each a row of ids an example.

    conditional: inputs are what the encoder of an encoder-decoder reads, and targets what its decoder writes;
    otherwise a target stands where it is predicted, and IGNORE where nothing is. padding: fills up inputs.
    """

    inputs: Sequence[np.ndarray]
    targets: Sequence[np.ndarray]
    conditional: bool
    padding: int

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> np.ndarray:
        """What batches are sorted by, (N,)."""
        both = zip(self.inputs, self.targets, strict=True)
        return np.array([len(source) + self.conditional * len(target) for source, target in both])

    def batch(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """What the model's `loss` takes of some examples."""
        ids, mask = pad_rows([self.inputs[number] for number in numbers], self.padding)
        targets, _ = pad_rows([self.targets[number] for number in numbers], IGNORE)
        batch = {"ids": ids, "targets": targets}
        return {**batch, "key_mask": mask} if self.conditional else batch  # where no token looks ahead, none needs it


def examples_of(pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, conditional: bool, padding: int) -> Examples:
    """Examples from (source ids, target ids), or of a causal model, from its inputs and targets; see `continued`."""
    inputs, targets = [], []
    for source, target in pairs:
        inputs.append(source)
        targets.append(target)
    return Examples(inputs, targets, conditional, padding)


def continued(ids: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a causal model reads of a text, and what it shall predict: of ids (n,) those that count, (n,) bool."""
    return ids[:-1], np.where(counts[1:], ids[1:], np.int32(IGNORE))


class TeacherForcing:
    """The task (see `tinylm.training.Task`): batches of examples of about the same length.

    measure: further metrics of a model on what is held out, such as those of the texts that it writes.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples | None,
        *,
        batch_size: int,
        seed: int = 0,
        label_smoothing: float = 0.0,
        measure: Callable[[Any], Mapping[str, float]] = lambda model: {},
    ):
        if not len(train):
            raise TinylmError("no examples to learn from")
        self.train, self.validation, self.batch_size = train, validation, batch_size
        self.label_smoothing, self._measure = label_smoothing, measure
        self._buckets = LengthBuckets(train.lengths, batch_size=batch_size, seed=seed)

    def batch(self, step: int, rows: slice) -> dict[str, np.ndarray]:
        return self.train.batch(self._buckets.rows(step)[rows])

    def loss(self, model: Any, batch: dict[str, np.ndarray]) -> Tensor:
        return model.loss(**batch, label_smoothing=self.label_smoothing)

    def count(self, batch: dict[str, np.ndarray]) -> int:
        return int((batch["targets"] != IGNORE).sum())

    def tokens(self, batch: dict[str, np.ndarray]) -> int:
        return batch["ids"].size + (batch["targets"].size if self.train.conditional else 0)

    def evaluate(self, model: Any) -> dict[str, float]:
        """Loss, perplexity and accuracy over the tokens of all held-out targets, and what `measure` adds."""
        if not self.validation:
            return {}
        metrics = LanguageMetrics()
        for numbers in self._validation_batches(model.config.vocab_size):
            batch = self.validation.batch(numbers)
            targets = batch.pop("targets")
            further = (model.shifted(targets),) if self.validation.conditional else ()
            with no_grad():
                logits = model(batch.pop("ids"), *further, **batch).data
            flat, wanted = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
            metrics.add(K.cross_entropy(flat, wanted), flat.argmax(axis=-1) == wanted, wanted != IGNORE)
        names = ("loss", "perplexity", "accuracy")
        return {name: metrics.result()[name] for name in names} | dict(self._measure(model))

    def _validation_batches(self, vocab_size: int) -> Iterator[np.ndarray]:
        """The numbers of the held-out examples, the short ones first, as many at a time as memory has room for."""
        assert self.validation is not None
        lengths = self.validation.lengths
        order = np.argsort(lengths, kind="stable")
        while len(order):
            longest = int(lengths[order[:VALIDATION_ROWS][-1]])
            rows = min(max(VALIDATION_LOGITS // (longest * vocab_size), 1), VALIDATION_ROWS)
            yield order[:rows]
            order = order[rows:]
