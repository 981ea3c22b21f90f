"""tinylm lr-find: which learning rate suits data and model."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

import tinylm
from tinylm.extras import check_plot_file

from ..settings_options import add_settings_options, read_settings, repeat_options

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "lr-find",
        help="find a learning rate in one short run",
        description="Train a new model for some steps with a rate that rises until the loss blows up, and suggest a "
        "rate from the curve (Smith 2017). Nothing is kept.",
    )
    add_settings_options(parser)
    parser.add_argument("--lowest", type=float, default=1e-6, metavar="RATE", help="the first rate (1e-6)")
    parser.add_argument("--highest", type=float, default=1.0, metavar="RATE", help="the last rate (1)")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="steps between them (100)")
    parser.add_argument("--plot", metavar="FILE", help="draw the curve into a PNG, SVG or PDF file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the curve and what it suggests."""
    from ..progress import ProgressBar, ReadingBar
    from ..text_plot import plot_lines

    if options.plot:
        check_plot_file(options.plot)
    bar, reading = ProgressBar(), ReadingBar()
    try:
        found = tinylm.find_learning_rate(
            options.data,
            preset=options.preset,
            lowest=options.lowest,
            highest=options.highest,
            steps=options.steps,
            callbacks=[bar],
            notify=bar.say,
            progress=reading,
            **read_settings(options),
        )
    finally:
        reading.close()
        bar.close()
    print("loss by learning rate, smoothed")
    print("\n".join(plot_lines(found.rates, found.smoothed)))
    print(f"the loss is lowest at  {found.lowest:.1e}{', and blows up after it' if found.diverged else ''}")
    print(f"suggested, half of it  {found.suggested:.1e}    as the peak of a schedule with warm-up and decay")
    print(f"careful, a tenth       {found.careful:.1e}    as a rate that stays")
    print(f"it falls fastest at    {found.steepest:.1e}")
    if options.plot:
        found.save_plot(options.plot)
        print(f"drawn into {options.plot}")
    again = shlex.join([*repeat_options(options), "--set", f"learning_rate={found.suggested:.1e}"])
    print(f"\nnext: tinylm train {again}")
