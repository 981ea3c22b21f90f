"""Which learning rate suits data, model and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinylm.data import Progress
from tinylm.training import Callback, RangeTest, range_test

from .building import build_model, build_task, build_trainer, read_corpora
from .settings import TrainSettings
from .tokenizers import build_tokenizer

__all__ = ["find_learning_rate"]


def find_learning_rate(
    settings: TrainSettings,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
    callbacks: Sequence[Callback] = (),
    notify: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> RangeTest:
    """The learning-rate range test for a new model with these settings; nothing is kept. See `range_test`."""
    corpus, sources = read_corpora(settings, notify=notify, progress=progress)
    tokenizer = build_tokenizer(settings, corpus, notify=notify)
    task = build_task(settings, sources, tokenizer, progress=progress)
    trainer = build_trainer(settings, build_model(settings, tokenizer), task, notify=notify)
    trainer.callbacks += callbacks
    return range_test(trainer, lowest=lowest, highest=highest, steps=steps)
