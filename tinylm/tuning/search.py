"""The search: Optuna draws settings, a run tries them, and validations that are worse than others' end it early.

FOLDER/tuning.json       the settings of all trials, and what is searched
FOLDER/study.journal     Optuna's record of the trials
FOLDER/trials/0003/      a run folder for each; only the best keeps its weights
FOLDER/best/             the best model
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError, TinylmError
from tinylm.extras import import_extra
from tinylm.files import read_json, write_atomically
from tinylm.metrics import higher_is_better
from tinylm.tasks import TrainSettings, choose_settings, find_task, resolve_settings, settings_to_json
from tinylm.training import Interrupts

from .running import Outcome, run_here, run_in_process
from .space import Choices, Range, Space, default_space, draw, read_space
from .trials import TrialRecord, TunedStudy

__all__ = ["resume_tuning", "tune"]

Notify = Callable[[str], None]
DESCRIPTION, JOURNAL, TRIALS = "tuning.json", "study.journal", "trials"
RANDOM_TRIALS = 5  # before the sampler learns from them, and before any is pruned


def tune(
    data: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    trials: int = 20,
    space: Mapping[str, Any] | None = None,
    out: str | PathLike[str] = "tuning",
    workers: int = 1,
    preset: str | None = None,
    notify: Notify = lambda message: None,
    **settings: Any,
) -> TunedStudy:
    """Search for the settings with which a task is learnt best; `tinylm.load(out)` opens the best model.

    space: for each setting that is searched a range (low, high), or choices [a, b, c]; where None the learning rate,
    and of a new model its width, layers and dropout. A range over a magnitude or more is searched by magnitude. Drawn
    by a tree-structured Parzen estimator (Bergstra et al. 2011), after five random trials; a trial whose validation is
    worse than the median of the others' at the same step ends there. out: a new folder; `resume_tuning` goes on in it.
    workers: trials at a time, each in a process of its own, which share the processor's threads. preset, settings: as
    in `tinylm.train`; all trials have the same seed. Raises TinylmError without Optuna (extra "tune"), and for what
    cannot be trained.
    """
    paths = [data] if isinstance(data, (str, PathLike)) else list(data)
    chosen = choose_settings(preset, settings | ({"data": tuple(map(str, paths))} if paths else {}))
    searched = default_space(chosen) if space is None else read_space(space, chosen)
    if not searched:
        raise TinylmError("there is nothing to search: name settings and their values")
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise TinylmError(f"{folder} is there already: go on in it with --resume {folder}, or name another folder")
    import_extra("optuna", "tuning")  # or refused before anything is made
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "settings": settings_to_json(chosen),
        "space": {
            name: list(values.values) if isinstance(values, Choices) else {"low": values.low, "high": values.high}
            for name, values in searched.items()
        },
    }
    write_atomically(folder / DESCRIPTION, (json.dumps(written, indent=2) + "\n").encode())
    return _Search(folder, chosen, searched, notify).run(trials, workers)


def resume_tuning(
    folder: str | PathLike[str], *, trials: int = 20, workers: int = 1, notify: Notify = lambda message: None
) -> TunedStudy:
    """Go on with a search until there are so many trials in all; those that were interrupted are begun again."""
    path = Path(folder)
    if not (path / DESCRIPTION).is_file():
        raise TinylmError(f"{path} holds no search: there is no {DESCRIPTION} in it")
    written = read_json(path / DESCRIPTION)
    try:
        settings = resolve_settings(written["settings"])
        space = {
            name: Range(**values) if isinstance(values, dict) else Choices(tuple(map(_unwritten, values)))
            for name, values in written["space"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise FileFormatError(path / DESCRIPTION, "does not describe a search") from None
    return _Search(path, settings, space, notify).run(trials, workers)


def _unwritten(value: Any) -> Any:
    """A value as it was before JSON made a list of it."""
    return tuple(value) if isinstance(value, list) else value


class _Search:
    """A search in its folder."""

    def __init__(self, folder: Path, settings: TrainSettings, space: Space, notify: Notify):
        self.folder, self.settings, self.space, self.notify = folder, settings, space, notify
        self.metric = find_task(settings.task).metric_of(settings)
        self.optuna = import_extra("optuna", "tuning")
        self.optuna.logging.set_verbosity(logging.ERROR)
        journal = import_extra("optuna.storages.journal", "tuning")
        self.study = self.optuna.create_study(
            study_name="tinylm",
            storage=self.optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / JOURNAL))),
            direction="maximize" if higher_is_better(self.metric) else "minimize",
            pruner=self.optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS),
            load_if_exists=True,
        )
        self._lock = threading.RLock()  # drawing may end a trial at once

    def run(self, trials: int, workers: int) -> TunedStudy:
        """Try settings until there are so many trials, some at a time."""
        if trials < 1 or workers < 1:
            raise TinylmError(f"trials and workers must be at least 1, received {trials} and {workers}")
        self._begin_again()
        with Interrupts() as interrupts:
            if workers == 1:  # in the main thread, where a run hears Ctrl-C
                self._work(trials, run_here, lambda: interrupts.requested is not None)
            else:
                self._share(trials, workers, interrupts)
        records = self._records()
        stopped = any(record.state == "interrupted" for record in records[-workers:])
        study = TunedStudy(self.folder, self.metric, self.space, records, "interrupted" if stopped else "")
        if study.best is not None:
            self._keep_best(study.best)
        return study

    def _share(self, trials: int, workers: int, interrupts: Interrupts) -> None:
        """Several threads that each wait for the process of a trial."""
        stop = threading.Event()
        threads = max((os.cpu_count() or 1) // workers, 1)
        execute = partial(run_in_process, threads=threads, is_stopped=stop.is_set)
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._work, trials, execute, stop.is_set) for _ in range(workers)]
            try:
                while not all(future.done() for future in futures):
                    time.sleep(0.1)
                    if interrupts.requested or any(future.done() and future.exception() for future in futures):
                        stop.set()
            finally:
                stop.set()
        for future in futures:
            future.result()

    def _work(self, trials: int, execute: Callable[..., Outcome], is_stopped: Callable[[], bool]) -> None:
        """One trial after another while any are wanted."""
        while not is_stopped():
            with self._lock:
                if sum(record.state != "interrupted" for record in self._records()) >= trials:
                    return
                trial, settings = self._draw()
            if settings is not None and self._try(trial, settings, execute) == "interrupted":
                return

    def _draw(self) -> tuple[Any, TrainSettings | None]:
        """A trial and its settings; None where they do not go together."""
        # A sampler for each trial, so that a search that goes on draws what it would have drawn.
        seed = self.settings.seed + len(self.study.trials)
        self.study.sampler = self.optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True
        )
        trial = self.study.ask()
        drawn = draw(trial, self.space)
        try:
            return trial, dataclasses.replace(self.settings, **drawn)
        except TinylmError as error:
            self._end(trial, Outcome("failed", reason=str(error)), 0.0)
            return trial, None

    def _try(self, trial: Any, settings: TrainSettings, execute: Callable[..., Outcome]) -> str:
        """Run a trial; its state."""
        begin = time.perf_counter()

        def report(step: int, value: float) -> bool:
            with self._lock:
                trial.report(value, step)
                return trial.should_prune()

        try:
            outcome = execute(settings, self._folder_of(trial.number), report)
            if outcome.state == "finished" and outcome.value is None:
                raise TinylmError("a search compares validations: hold some of the data out (--set validation=0.1)")
        except BaseException as error:
            self._end(trial, Outcome("failed", reason=str(error)), time.perf_counter() - begin)
            raise
        self._end(trial, outcome, time.perf_counter() - begin)
        return outcome.state

    def _end(self, trial: Any, outcome: Outcome, seconds: float) -> None:
        """Write down how a trial ended, and let go of weights that are not the best."""
        states = {"finished": self.optuna.trial.TrialState.COMPLETE, "pruned": self.optuna.trial.TrialState.PRUNED}
        state = states.get(outcome.state, self.optuna.trial.TrialState.FAIL)
        with self._lock:
            trial.set_user_attr("seconds", seconds)
            if outcome.state == "failed":
                trial.set_user_attr("reason", outcome.reason)
            self.study.tell(trial, outcome.value if outcome.state == "finished" else None, state=state)
            records = self._records()
            best = TunedStudy(self.folder, self.metric, self.space, records).best
            for record in records:
                if record.state != "running" and record is not best:
                    for part in ("best", "checkpoints"):
                        shutil.rmtree(self._folder_of(record.number) / part, ignore_errors=True)
        is_best = best is not None and best.number == trial.number
        self.notify(_tell(next(r for r in records if r.number == trial.number), self.metric, is_best))

    def _begin_again(self) -> None:
        """Put what a killed process was at, and what was interrupted, back in the queue."""
        state = self.optuna.trial.TrialState
        for trial in self.study.get_trials(states=(state.RUNNING,)):
            self.study.tell(trial.number, state=state.FAIL)
        known = [trial.system_attrs.get("fixed_params") for trial in self.study.get_trials(states=(state.WAITING,))]
        records = self._records()
        known += [record.settings for record in records if record.state != "interrupted"]
        for record in records:
            if record.state == "interrupted":
                shutil.rmtree(self._folder_of(record.number), ignore_errors=True)
                if record.settings and record.settings not in known:
                    self.study.enqueue_trial(dict(record.settings))
                    known.append(record.settings)

    def _records(self) -> list[TrialRecord]:
        """The trials that have begun. One that failed without a reason was interrupted."""
        names = {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "running"}
        records = []
        for trial in self.study.trials:
            if trial.state.name == "WAITING":
                continue
            reason = trial.user_attrs.get("reason", "")
            state = names.get(trial.state.name, "failed" if reason else "interrupted")
            values, seconds = trial.intermediate_values, trial.user_attrs.get("seconds", 0.0)
            pick = max if higher_is_better(self.metric) else min
            value = trial.value if state == "finished" else pick(values.values(), default=None)
            records.append(TrialRecord(trial.number, state, trial.params, value, values, seconds, reason))
        return records

    def _folder_of(self, number: int) -> Path:
        return self.folder / TRIALS / f"{number:04d}"

    def _keep_best(self, best: TrialRecord) -> None:
        """Copy the best model to its place, in one step."""
        place, fresh = self.folder / "best", self.folder / "best.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(self._folder_of(best.number) / "best", fresh)
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)


def _tell(record: TrialRecord, metric: str, is_best: bool) -> str:
    """A trial in a line."""
    drawn = ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in record.settings.items()
    )
    value = "" if record.value is None else f" at {metric} {record.value:.4f}"
    reason = f" ({record.reason})" if record.reason else ""
    return f"trial {record.number}: {drawn}: {record.state}{value}{reason}{', the best so far' if is_best else ''}"
