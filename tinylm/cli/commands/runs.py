"""tinylm runs: what was trained, and how the runs compare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..run_folders import open_run

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("runs", help="list, show or compare runs", description="What was trained here.")
    parser.add_argument("--root", default="runs", metavar="DIR", help="where the run folders lie (runs)")
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="all runs, a line each")
    show = actions.add_parser("show", help="one run: its settings and its curve")
    show.add_argument("run_folder", metavar="RUN", help="a run folder, or its name under the root")
    show.set_defaults(run=run_show)
    compare = actions.add_parser("compare", help="the settings and results in which runs differ")
    compare.add_argument("run_folders", nargs="+", metavar="RUN", help="run folders, or their names under the root")
    compare.set_defaults(run=run_compare)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """List the runs."""
    from tinylm.training import list_runs

    summaries = list_runs(Path(options.root))
    if not summaries:
        print(f"no runs under {options.root}; tinylm train makes one")
        return
    header = ("run", "model", "steps", "best val loss", "last loss", "state", "started")
    rows = [
        (s.name, s.model, f"{s.step}/{s.steps}", _number(s.best_val_loss), _number(s.last_loss), s.state, s.started)
        for s in summaries
    ]
    _print_table([header, *rows])
    for summary in summaries:
        if summary.problem:
            print(f"{summary.name}: {summary.problem}")


def run_show(options: argparse.Namespace) -> None:
    """Print the settings of a run and its validations."""
    run_folder = open_run(options.run_folder, options.root)
    for name, value in run_folder.config.items():
        print(f"{name:<20} {value}")
    rows = [
        (str(m["step"]), _number(m.get("train_loss")), _number(m["val_loss"]), f"{m.get('seconds') or 0:.0f}")
        for m in run_folder.metrics()
        if m.get("val_loss") is not None
    ]
    print()
    _print_table([("step", "train loss", "val loss", "seconds"), *rows])


def run_compare(options: argparse.Namespace) -> None:
    """Print what differs between runs, and their results."""
    folders = [open_run(name, options.root) for name in options.run_folders]
    names = sorted({name for folder in folders for name in folder.config})
    rows = [("", *[folder.path.name for folder in folders])]
    for name in names:
        values = [str(folder.config.get(name)) for folder in folders]
        if len(set(values)) > 1:
            rows.append((name, *values))
    rows.append(("best val loss", *[_number(_best(folder.metrics())) for folder in folders]))
    rows.append(("seconds", *[f"{(folder.metrics() or [{}])[-1].get('seconds') or 0:.0f}" for folder in folders]))
    _print_table(rows)


def _best(metrics: Sequence[dict[str, Any]]) -> float | None:
    losses = [m["val_loss"] for m in metrics if m.get("val_loss") is not None]
    return min(losses, default=None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
