"""The report of one run or of several: one page with its curves, results, settings, provenance and samples."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..training import RunFolder, RunSummary, summarise
from .curves import COLOURS, Curve, draw
from .html import Markup, escape, page, tag

__all__ = ["write_report"]

SAMPLES = 12  # of a run, at most, spread over its steps
SAMPLE_LENGTH = 4000  # characters

# The figures: a field of metrics.jsonl, its title, whether it is noisy, and whether its axis is logarithmic.
FIGURES = (
    ("train_loss", "Training loss, nats", True, False),
    ("val_loss", "Validation loss, nats", False, False),
    ("val_bits_per_byte", "Validation, bits per byte", False, False),
    ("learning_rate", "Learning rate", False, False),
    ("gradient_norm", "Gradient norm, before clipping", True, True),
    ("tokens_per_second", "Speed, tokens a second", True, False),
)


class Run:
    """A run, and the colour it has in the report."""

    def __init__(self, folder: RunFolder, colour: int):
        self.folder, self.colour = folder, colour
        self.summary: RunSummary = summarise(folder.path)
        self.records = folder.metrics()

    @property
    def label(self) -> Markup:
        swatch = tag("span", {"class": f"swatch series-{self.colour % COLOURS}"})
        return Markup(swatch + tag("bdi", self.summary.name))

    @cached_property
    def best(self) -> dict[str, Any]:
        """The record with the lowest validation loss."""
        validated = [record for record in self.records if _is_number(record.get("val_loss"))]
        return min(validated, key=lambda record: record["val_loss"], default={})

    def curve(self, field: str, smooth: bool) -> Curve | None:
        points = [(r["step"], r[field]) for r in self.records if _is_number(r.get("step")) and field in r]
        if not points:
            return None
        steps, values = zip(*points, strict=True)
        numbers = [value if _is_number(value) else np.nan for value in values]
        return Curve(np.array(steps, float), np.array(numbers, float), self.colour, smooth)


def write_report(folders: Sequence[RunFolder], out: str | PathLike[str]) -> None:
    """Write the report of these runs into a file, which needs no other file, no network and no script.

    Raises TinylmError without matplotlib, and FileFormatError for a run folder that is damaged.
    """
    runs = [Run(folder, number) for number, folder in enumerate(folders)]
    names = ", ".join(run.summary.name for run in runs)
    content = [
        tag("h1", tag("bdi", names) if len(runs) == 1 else f"{len(runs)} runs"),
        tag("p", {"class": "note"}, _subtitle(runs)),
        _tiles(runs[0]) if len(runs) == 1 else _results(runs),
        tag("h2", "Curves"),
        _figures(runs),
        tag("h2", "Samples"),
        *(_samples(run) for run in runs),
        *(_settings(runs) if len(runs) == 1 else _differences(runs)),
        tag("h2", "Provenance"),
        *(_provenance(run, opened=len(runs) == 1) for run in runs),
    ]
    write_atomically(Path(out), page(f"tinylm: {names}", *content).encode("utf-8"))


def _subtitle(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return "Faint: each step. Bold: their moving average. A run has one colour in all figures."
    summary = runs[0].summary
    return f"{summary.model or 'model unknown'}, {summary.state}, started {summary.started or 'at an unknown time'}"


def _tiles(run: Run) -> Markup:
    tiles = [(_shown(value), what) for what, value in _result(run).items()]
    shown = (tag("div", {"class": "tile"}, tag("b", value), tag("span", what)) for value, what in tiles)
    return tag("div", {"class": "tiles"}, *shown)


def _result(run: Run) -> dict[str, Any]:
    speeds = [r["tokens_per_second"] for r in run.records if _is_number(r.get("tokens_per_second"))]
    seconds: Any = run.records[-1].get("seconds") if run.records else None
    return {
        "best validation loss": run.best.get("val_loss"),
        "bits per byte there": run.best.get("val_bits_per_byte"),
        "at step": run.best.get("step"),
        "last training loss": run.summary.last_loss,
        "steps": f"{run.summary.step:,} / {run.summary.steps:,}" if run.summary.steps else run.summary.step,
        "tokens a second, median": round(statistics.median(speeds)) if speeds else None,
        "seconds in steps": round(seconds) if _is_number(seconds) else None,
    }


def _results(runs: Sequence[Run]) -> Markup:
    results = [{"state": run.summary.state, **_result(run)} for run in runs]
    return _table([["", *(run.label for run in runs)]], [[what, *(r[what] for r in results)] for what in results[0]])


def _figures(runs: Sequence[Run]) -> Markup:
    figures = []
    for field, title, noisy, log in FIGURES:
        curves = [curve for run in runs if (curve := run.curve(field, noisy)) is not None]
        if curves:
            figures.append(tag("figure", {"aria-label": title}, tag("h3", title), draw(curves, name=field, log=log)))
    if not figures:
        return tag("p", {"class": "note"}, "No step has been taken yet.")
    return tag("div", {"class": "figures"}, *figures)


def _settings(runs: Sequence[Run]) -> list[Markup]:
    return [tag("h2", "Settings"), _table([], [[n, v] for n, v in runs[0].folder.config.items()])]


def _differences(runs: Sequence[Run]) -> list[Markup]:
    """A row for each setting in which the runs differ; all of a run's where its line is opened."""
    configs = [run.folder.config for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    rows = [[name, *(config.get(name) for config in configs)] for name in names if _differs(name, configs)]
    shown = _table([["", *(run.label for run in runs)]], rows) if rows else tag("p", "The runs have the same settings.")
    return [tag("h2", "Settings that differ"), shown] + [
        _fold(Markup(run.label + escape(": all settings")), _table([], [[n, v] for n, v in config.items()]))
        for run, config in zip(runs, configs, strict=True)
    ]


def _differs(name: str, configs: Sequence[dict[str, Any]]) -> bool:
    return len({json.dumps(config.get(name)) for config in configs}) > 1


def _provenance(run: Run, *, opened: bool) -> Markup:
    table = _table([], [[name, value] for name, value in run.folder.provenance.items()])
    return table if opened else _fold(run.label, table)


def _samples(run: Run) -> Markup:
    samples = run.folder.read_samples()
    if not samples:
        return tag("p", {"class": "note"}, run.label, ": it has written nothing yet.")
    chosen = sorted({round(i) for i in np.linspace(0, len(samples) - 1, SAMPLES)})
    folds = []
    for index in chosen:
        step, text = samples[index]
        cut = text if len(text) <= SAMPLE_LENGTH else text[:SAMPLE_LENGTH] + " ..."
        label = Markup(run.label + escape(f", step {step:,}"))
        folds.append(_fold(label, tag("pre", {"dir": "auto"}, cut), opened=index == len(samples) - 1))
    return Markup("".join(folds))


def _fold(label: Markup, content: Markup, *, opened: bool = False) -> Markup:
    return tag("details", {"open": ""} if opened else {}, tag("summary", label), content)


def _table(head: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]) -> Markup:
    def line(cells: Sequence[Any], kind: str) -> Markup:
        return tag("tr", *(tag(kind if i else "th", {"dir": "auto"}, _shown(cell)) for i, cell in enumerate(cells)))

    thead = tag("thead", *(line(cells, "th") for cells in head)) if head else None
    return tag("div", {"class": "scroll"}, tag("table", thead, tag("tbody", *(line(cells, "td") for cells in rows))))


def _shown(value: Any) -> Markup | str:
    if isinstance(value, str):
        return value
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 0.01 else f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value:,}" if type(value) is int else json.dumps(value, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
