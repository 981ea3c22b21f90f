"""tinylm tune: search for the settings with which a task is learnt best."""

from __future__ import annotations

import argparse
from typing import Any

from tinylm.errors import TinylmError
from tinylm.extras import check_plot_file

from ..settings_options import add_settings_options, read_settings

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tune",
        help="search for the settings with which a task is learnt best",
        description="Train many times with settings that are drawn from what earlier trials have shown (Optuna), end "
        "trials early that do worse than others, and keep the best model. Everything that is not searched is as in "
        "tinylm train.",
    )
    add_settings_options(parser)
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="how many, those done before included (20)")
    parser.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="a setting and its values, low..high or a,b,c; repeatable. Unless given, the learning rate, and of a new "
        "model its width, layers and dropout",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="trials at a time (1)")
    parser.add_argument("--out", default="tuning", metavar="DIR", help="the folder of the search (tuning)")
    parser.add_argument("--resume", metavar="DIR", help="go on with the search in this folder")
    parser.add_argument("--plot", metavar="FILE", help="draw the trials into a PNG, SVG or PDF file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Tell each trial, then the table."""
    from tinylm.tuning import parse_space, resume_tuning, tune

    if options.plot:
        check_plot_file(options.plot)
    if options.resume:
        if options.data or options.search or read_settings(options):
            raise TinylmError("--resume goes on with the data, settings and values that the search began with")
        found = resume_tuning(options.resume, trials=options.trials, workers=options.workers, notify=print)
    else:
        found = tune(
            options.data,
            trials=options.trials,
            space=parse_space(options.search) or None,
            out=options.out,
            workers=options.workers,
            preset=options.preset,
            notify=print,
            **read_settings(options),
        )
    print(f"\n{found.table()}")
    if options.plot:
        found.save_plot(options.plot)
        print(f"drawn into {options.plot}")
    if found.stopped:
        print(f"\n{found.stopped}; to go on: tinylm tune --resume {found.folder} --trials {options.trials}")
    elif found.best is not None:
        chosen = " ".join(f"--set {name}={value}" for name, value in found.best.settings.items())
        print(f"\nthe best model: {found.folder / 'best'}")
        print(f"to train with its settings for longer: tinylm train ... {chosen}")
