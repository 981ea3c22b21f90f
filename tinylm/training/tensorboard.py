"""TensorBoard: the numbers of metrics.jsonl as curves, and the samples as texts."""

from __future__ import annotations

import textwrap
from pathlib import Path
from types import TracebackType
from typing import Any

from ..extras import import_extra
from .callbacks import metrics_record
from .trainer import StepResult, Trainer

__all__ = ["TensorBoard"]

FLUSH_SECONDS = 10


class TensorBoard:
    """A callback that writes what metrics.jsonl says of each step, under the same names, into an event file.

        with TensorBoard(run.path / "tensorboard") as board:
            trainer.callbacks.append(board)

    folder: made where it is missing. What an earlier process has written there of the steps that now come again is
    hidden. Raises TinylmError without tensorboardX.
    """

    def __init__(self, folder: Path):
        self._make_writer = import_extra("tensorboardX", "track=tensorboard").SummaryWriter
        self._folder = folder
        self._writer: Any = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def __call__(self, trainer: Trainer, result: StepResult) -> None:
        writer = self._open(result.step)
        for name, value in metrics_record(trainer, result).items():
            if name != "step":
                writer.add_scalar(name, value, result.step)

    def add_sample(self, step: int, text: str) -> None:
        """Show what the model wrote after a step, letter by letter: as code, since TensorBoard reads Markdown."""
        self._open(step).add_text("sample", textwrap.indent(text, "    ", lambda line: True), step)

    def _open(self, step: int) -> Any:
        if self._writer is None:
            # Files are named by the second: without the step, a quick resume would write over what came before it.
            names = {"filename_suffix": f".{step}"}
            self._writer = self._make_writer(str(self._folder), purge_step=step, flush_secs=FLUSH_SECONDS, **names)
        return self._writer
