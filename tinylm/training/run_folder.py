"""A run folder: everything that one training run leaves behind, readable while it runs and after a kill.

    config.json        the resolved settings
    provenance.json    what it ran on: versions, machine, command line, data, when it started
    metrics.jsonl      one object a line, a line a step
    samples.txt        what the model wrote on the way
    checkpoints/       the last ones, to resume from (`tinylm.training.checkpoints`)
    best/              a model folder: the weights with the best validation
    end.json           how it ended, where that was put down
    lock               while a process trains in it

The fields of each are in docs/run-folder.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import DivergedError, FileFormatError, TinylmError
from ..files import parse_json, read_json, write_atomically
from .checkpoints import JSON
from .disk import disk_errors
from .locks import hold, holder
from .metrics_file import append_record, encode_json, read_metrics, truncate_records
from .provenance import describe_environment, utc_now

__all__ = ["RunFolder", "RunSummary", "list_runs", "read_metrics", "summarise"]

CONFIG, PROVENANCE, METRICS, SAMPLES = "config.json", "provenance.json", "metrics.jsonl", "samples.txt"
END, LOCK = "end.json", "lock"
REMOVED = ".removed"  # ends the name of a hidden folder that is being removed
ENDINGS = ("finished", "interrupted", "diverged", "failed")


class RunFolder:
    """A run folder that exists; `RunFolder.create` makes one. It holds no file open.

    Every method raises TinylmError where the disk fails, and FileFormatError for a file that is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Raises TinylmError for a folder without config.json."""
        self.path = Path(path)
        self.checkpoints, self.best = self.path / "checkpoints", self.path / "best"
        self.metrics_file, self.samples = self.path / METRICS, self.path / SAMPLES
        if not (self.path / CONFIG).is_file():
            raise TinylmError(f"{self.path} is no run folder: there is no {CONFIG} in it")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str] | None,
        config: Mapping[str, Any],
        *,
        data_fingerprint: JSON = None,
        root: str | os.PathLike[str] = "runs",
    ) -> RunFolder:
        """Make a folder with config.json and provenance.json in it.

        path: must be new or empty; where None, a new one under `root`, named by the local time. config: what
        JSON can hold. data_fingerprint: what tells this data from any other. Raises TinylmError.
        """
        encoded = _encode(CONFIG, config)  # what cannot be written leaves no folder
        with disk_errors(path or root):
            folder = _new_folder(Path(root)) if path is None else _empty_folder(Path(path))
            provenance = describe_environment() | {"data_fingerprint": data_fingerprint}
            write_atomically(folder / PROVENANCE, _encode(PROVENANCE, provenance))
            write_atomically(folder / CONFIG, encoded)  # last: it makes this a run folder
        return cls(folder)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """The run in a folder. Raises TinylmError for a folder without config.json."""
        return cls(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved settings."""
        return _read_object(self.path / CONFIG)

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the run began on."""
        return _read_object(self.path / PROVENANCE)

    def change_config(self, config: Mapping[str, Any], *, step: int) -> None:
        """Go on with other settings from a step on: config.json has them from now, provenance.json says what changed.

        Does nothing where they are the run's own.
        """
        new = parse_json(_encode(CONFIG, config), self.path / CONFIG)
        changed = {
            name: [self.config.get(name), value] for name, value in new.items() if self.config.get(name) != value
        }
        if not changed:
            return
        changes = [*self.provenance.get("changes", ()), {"step": step, "when": utc_now(), "settings": changed}]
        with disk_errors(self.path):
            write_atomically(self.path / PROVENANCE, _encode(PROVENANCE, self.provenance | {"changes": changes}))
            write_atomically(self.path / CONFIG, _encode(CONFIG, self.config | new))
        del self.config, self.provenance  # read again when asked for

    @contextlib.contextmanager
    def lock(self) -> Iterator[RunFolder]:
        """Train here alone: a second process is refused with a TinylmError that names the first.

        The lock of a process that was killed is taken over. An error that leaves the block is put down as the
        end of the run.
        """
        with contextlib.ExitStack() as stack:
            with disk_errors(self.path):
                stack.enter_context(hold(self.path / LOCK))
                (self.path / END).unlink(missing_ok=True)
            try:
                yield self
            except BaseException as error:
                states = {KeyboardInterrupt: "interrupted", DivergedError: "diverged"}
                state = next((state for kind, state in states.items() if isinstance(error, kind)), "failed")
                with contextlib.suppress(TinylmError):  # the disk may be the reason; this error says more
                    self.end(state, f"{type(error).__name__}: {error}")
                raise

    def remove(self) -> None:
        """Remove the folder and all in it, in one step to all who look: a kill leaves no half of a run.

        Raises TinylmError while a process trains in it, for a link, and for a folder that `create` has not made.
        """
        if (name := holder(self.path / LOCK)) is not None:
            raise TinylmError(f"{self.path} is not removed: {name} trains in it")
        if self.path.is_symlink() or not (self.path / PROVENANCE).is_file():
            raise TinylmError(f"{self.path} is not removed: it is no run folder, but a link, or has no {PROVENANCE}")
        path = self.path.resolve()
        with disk_errors(path):
            os.replace(path, path.with_name(f".{path.name}-{secrets.token_hex(4)}{REMOVED}"))
            for left in path.parent.glob(f".*{REMOVED}"):  # this one, and what a kill has left
                shutil.rmtree(left)

    def end(self, state: str, reason: str = "") -> None:
        """Put down how the run ended: "finished", "interrupted", "diverged" or "failed", and why.

        Needed only for what the steps do not show, such as early stopping.
        """
        if state not in ENDINGS:
            raise TinylmError(f"RunFolder.end: received {state!r}, expected one of {', '.join(ENDINGS)}")
        with disk_errors(self.path):
            end = {"state": state, "reason": reason, "ended": utc_now()}
            write_atomically(self.path / END, _encode(END, end))

    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl, as `read_metrics` reads them."""
        with disk_errors(self.metrics_file):
            return read_metrics(self.metrics_file)

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl, out of this process when it returns. NaN and infinity become null.

        record: "step" (from 1), and numbers by name: train_loss, val_loss, tokens_per_second, seconds, ...
        """
        with disk_errors(self.metrics_file):
            append_record(self.metrics_file, record)

    def truncate_metrics(self, after_step: int) -> None:
        """Drop the lines from the first on whose step is later: a resumed run writes these steps again."""
        with disk_errors(self.metrics_file):
            truncate_records(self.metrics_file, after_step)

    def append_sample(self, step: int, text: str) -> None:
        """Add what the model wrote after a step to samples.txt, for people to read."""
        entry = f"--- step {step} ---\n{text}\n\n".encode("utf-8", "replace")
        with disk_errors(self.samples), open(self.samples, "ab") as file:
            file.write(entry)

    def read_samples(self) -> list[tuple[int, str]]:
        """The steps and what the model wrote after them, in their order; of a step that came twice, the later one."""
        with disk_errors(self.samples):
            text = self.samples.read_bytes().decode("utf-8", "replace") if self.samples.exists() else ""
        _, *parts = re.split(r"^--- step (\d{1,18}) ---\n", text, flags=re.MULTILINE)
        return sorted(
            {
                int(step): sample.removesuffix("\n\n") for step, sample in zip(parts[::2], parts[1::2], strict=True)
            }.items()
        )


@dataclass(frozen=True)
class RunSummary:
    """A run in one line. A text that is not known is empty, a number None.

    state: "running", "finished", "interrupted" (also by a kill), "diverged", "failed", "broken" (`problem` says why).
    """

    name: str
    path: Path
    state: str
    task: str = ""
    model: str = ""
    step: int = 0  # the last one taken
    steps: int | None = None  # wanted in all
    best_val_loss: float | None = None
    last_loss: float | None = None  # the training loss
    started: str = ""  # UTC, ISO 8601
    problem: str = ""


def list_runs(root: str | os.PathLike[str] = "runs") -> list[RunSummary]:
    """The runs in a folder, by name; [] where there is no folder. One that cannot be read is "broken"."""
    folder = Path(root)
    if not folder.is_dir():
        return []
    with disk_errors(folder):
        paths = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.endswith(REMOVED))
    return [summarise(path) for path in paths]


def summarise(path: Path) -> RunSummary:
    """The run in a folder in one line; "broken" where it cannot be read."""
    try:
        run = RunFolder.open(path)
        records = run.metrics()
        done = max((int(step) for step in _numbers(records, "step")), default=0)
        steps = run.config.get("steps")
        steps = steps if type(steps) is int else None
        return RunSummary(
            name=path.name,
            path=path,
            state=_state(path, complete=steps is not None and done >= steps),
            task=_text(run.config.get("task")),
            model=_text(run.config.get("model")),
            step=done,
            steps=steps,
            best_val_loss=min(_numbers(records, "val_loss"), default=None),
            last_loss=next(iter(_numbers(records[::-1], "train_loss")), None),
            started=_text(run.provenance.get("started")),
        )
    except (TinylmError, OSError) as error:
        return RunSummary(path.name, path, "broken", problem=str(error))


def _state(path: Path, *, complete: bool) -> str:
    if holder(path / LOCK) is not None:
        return "running"
    if (path / END).is_file():
        return str(_read_object(path / END).get("state"))
    return "finished" if complete else "interrupted"


def _numbers(records: list[dict[str, Any]], name: str) -> list[float]:
    values = (record.get(name) for record in records)
    return [value for value in values if isinstance(value, int | float)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _new_folder(root: Path) -> Path:
    """mkdir is the test and the claim in one: two runs of one second get two folders."""
    root.mkdir(parents=True, exist_ok=True)
    name, number = f"{datetime.now():%Y-%m-%d-%H%M%S}", 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        is_run = (folder / CONFIG).is_file()
        resume = f"--resume {folder} continues the run in it; or " if is_run else ""
        raise TinylmError(f"{folder} is not empty: {resume}choose another --out")
    return folder


def _encode(name: str, value: Mapping[str, Any]) -> bytes:
    return encode_json(value, name, indent=1) + b"\n"


def _read_object(file: Path) -> dict[str, Any]:
    value = read_json(file)
    if not isinstance(value, dict):
        raise FileFormatError(file, f"expected an object, received {type(value).__name__}")
    return value
