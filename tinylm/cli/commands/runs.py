"""tinylm runs: what was trained, and how the runs compare."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinylm.errors import TinylmError

from ..run_folders import open_run

__all__ = ["add_to", "run"]

# What a validation shows. A loss counts tokens: between runs with different tokenizers only the bits per byte compare.
COLUMNS = {"train_loss": "train loss", "val_loss": "val loss", "val_bits_per_byte": "bits per byte"}


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "runs", help="list, compare, rank or remove runs", description="What was trained here."
    )
    parser.add_argument("--root", default="runs", metavar="DIR", help="where the run folders lie (runs)")
    actions = parser.add_subparsers(metavar="ACTION")
    actions.add_parser("list", help="all runs, a line each")
    show = actions.add_parser("show", help="one run: its settings and its curve")
    show.add_argument("run_folder", metavar="RUN", help="a run folder, or its name under the root")
    show.set_defaults(run=run_show)
    compare = actions.add_parser("diff", aliases=["compare"], help="the settings and results in which runs differ")
    compare.add_argument("run_folders", nargs="+", metavar="RUN", help="run folders, or their names under the root")
    compare.set_defaults(run=run_compare)
    best = actions.add_parser("best", help="the runs by their validation, the best first")
    best.add_argument("--metric", metavar="NAME", help="loss; bits_per_byte where tokenizers differ; accuracy, ...")
    best.set_defaults(run=run_best)
    remove = actions.add_parser("rm", help="remove runs; shows them first")
    remove.add_argument("run_folders", nargs="*", metavar="RUN", help="run folders, or their names under the root")
    remove.add_argument("--keep-best", type=int, metavar="N", help="all under the root but the N best on each text")
    remove.add_argument("--yes", action="store_true", help="remove them, and do not only show them")
    remove.set_defaults(run=run_remove)
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
        (str(m["step"]), *map(_number, map(m.get, COLUMNS)), f"{m.get('seconds') or 0:.0f}")
        for m in run_folder.metrics()
        if m.get("val_loss") is not None
    ]
    print()
    _print_table([("step", *COLUMNS.values(), "seconds"), *rows])


def run_compare(options: argparse.Namespace) -> None:
    """Print what differs between runs, and their results."""
    folders = [open_run(name, options.root) for name in options.run_folders]
    names = sorted({name for folder in folders for name in folder.config})
    rows = [("", *[folder.path.name for folder in folders])]
    for name in names:
        values = [str(folder.config.get(name)) for folder in folders]
        if len(set(values)) > 1:
            rows.append((name, *values))
    metrics = [folder.metrics() for folder in folders]
    rows.append(("best val loss", *[_number(_best(m, "val_loss")) for m in metrics]))
    rows.append(("best bits per byte", *[_number(_best(m, "val_bits_per_byte")) for m in metrics]))
    rows.append(("seconds", *[f"{(m or [{}])[-1].get('seconds') or 0:.0f}" for m in metrics]))
    _print_table(rows)


def run_best(options: argparse.Namespace) -> None:
    """Print a table for each text on which runs were validated."""
    from tinylm.training import rank_runs, summarise

    rankings = rank_runs(_under(options.root), options.metric)
    if not rankings:
        print(f"no run under {options.root} has been validated")
    for number, ranking in enumerate(rankings):
        if len(rankings) > 1:
            print(f"{chr(10) if number else ''}on text {number + 1} of {len(rankings)}:")
        rows = [
            (run.path.name, _number(value), str(step), summarise(run.path).state)
            for value, step, run in ranking.entries
        ]
        _print_table([("run", ranking.metric, "at step", "state"), *rows])


def run_remove(options: argparse.Namespace) -> None:
    """Show what would go, or let it go."""
    from tinylm.training import rank_runs, summarise

    if (options.keep_best is None) == (not options.run_folders):
        raise TinylmError("tinylm runs rm takes run folders, or --keep-best N")
    if options.keep_best is None:
        doomed = [open_run(name, options.root) for name in options.run_folders]
    elif options.keep_best < 1:
        raise TinylmError(f"--keep-best is {options.keep_best}, expected 1 or more")
    else:
        rankings = rank_runs(_under(options.root))
        behind = [run for ranking in rankings for *_, run in ranking.entries[options.keep_best :]]
        doomed = [run for run in behind if summarise(run.path).state != "running"]
    for run in doomed:
        size = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
        if options.yes:
            run.remove()
        print(f"{'removed' if options.yes else 'would remove'} {run.path}, {size / 2**20:.1f} MB")
    if not doomed:
        print("there is nothing to remove")
    elif not options.yes:
        print("nothing has been removed yet; the same with --yes does it")


def _under(root: str) -> list[Any]:
    """The run folders under the root that can be read; a link is another name for one, and not counted."""
    from tinylm.training import RunFolder, list_runs

    paths = [summary.path for summary in list_runs(root) if summary.state != "broken"]
    return [RunFolder.open(path) for path in paths if not path.is_symlink()]


def _best(metrics: Sequence[dict[str, Any]], name: str) -> float | None:
    return min((m[name] for m in metrics if m.get(name) is not None), default=None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
