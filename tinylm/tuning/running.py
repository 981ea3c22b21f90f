"""One trial: a training run in a folder of its own, here or in another process."""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tinylm.errors import DivergedError, TinylmError
from tinylm.tasks import TrainSettings, find_task, run_training
from tinylm.training import StepResult, Trainer, summarise

__all__ = ["Outcome", "Report", "run_here", "run_in_process"]

PRUNED = "pruned"
POLL = 0.2  # seconds

# Told the step and the value of a validation; whether the trial shall end.
Report = Callable[[int, float], bool]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: as `TrialRecord` says. value: the best of its validations."""

    state: str
    value: float | None = None
    reason: str = ""


def run_here(settings: TrainSettings, folder: Path, report: Report) -> Outcome:
    """Train with these settings into a new folder. A loss that blows up is a failed trial; other errors are raised."""
    metric = find_task(settings.task).metric_of(settings)

    def watch(trainer: Trainer, result: StepResult) -> None:
        value = result.metrics.get(f"val_{metric}")
        if value is not None and math.isfinite(value) and report(trainer.step, value) and not trainer.is_ending:
            trainer.stop(PRUNED)

    try:
        run = run_training(settings, out=folder, callbacks=[watch])
    except DivergedError as error:
        return Outcome("failed", reason=str(error).partition(":")[0])
    if run.stopped == PRUNED:
        return Outcome(PRUNED)
    if summarise(run.folder).state == "interrupted":
        return Outcome("interrupted")
    return Outcome("finished", run.trainer.memory.get(f"best_val_{metric}"))


def run_in_process(
    settings: TrainSettings, folder: Path, report: Report, *, threads: int, is_stopped: Callable[[], bool]
) -> Outcome:
    """The same in a process of its own, which computes in so many threads; is_stopped: whether it shall end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, settings, folder, threads), daemon=True)
    process.start()
    theirs.close()
    asked = False
    try:
        while True:
            while not ours.poll(POLL):
                if is_stopped() and not asked:
                    process.terminate()  # which a run takes as a wish to end after its step
                    asked = True
            kind, *content = ours.recv()
            if kind == "value":
                ours.send(report(*content))
            elif kind == "outcome":
                return content[0]
            else:
                raise content[0]
    except (EOFError, ConnectionError):
        process.join()
        return Outcome("failed", reason=f"its process ended with {process.exitcode}")
    finally:
        process.join()
        ours.close()


def _serve(connection: Connection, settings: TrainSettings, folder: Path, threads: int) -> None:
    """Run the trial, and ask at each validation whether to go on."""
    os.environ["NUMBA_NUM_THREADS"] = str(threads)  # read when Numba is imported, which it is not yet

    def report(step: int, value: float) -> bool:
        connection.send(("value", step, value))
        return connection.recv()

    answer: tuple[Any, ...]
    try:
        answer = ("outcome", run_here(settings, folder, report))
    except (TinylmError, OSError) as error:
        answer = ("error", TinylmError(str(error)))
    connection.send(answer)
