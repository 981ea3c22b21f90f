"""Which learning rate suits data, model and optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tinylm.data import Progress
from tinylm.training import Callback, RangeTest, range_test

from .building import build_trainer
from .settings import TrainSettings
from .table import find_task

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
    """The learning-rate range test for a model with these settings; nothing is kept. See `range_test`."""
    kind = find_task(settings.task)(settings, notify=notify, progress=progress)
    tokenizer = kind.build_tokenizer()
    task, model = kind.load(tokenizer), kind.build_model(tokenizer)
    trainer = build_trainer(settings, model, task, notify=notify)
    trainer.callbacks += callbacks
    return range_test(trainer, lowest=lowest, highest=highest, steps=steps)
