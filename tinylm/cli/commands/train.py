"""tinylm train: learn a task from data."""

from __future__ import annotations

import argparse
import time
from typing import Any

import tinylm

from ..settings_options import add_settings_options, read_settings

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "train",
        help="train a model for a task on data",
        description="Train a model for a task (docs/tasks.md): a language model, unless --task says otherwise, on "
        "files, folders and patterns of text, JSON Lines, CSV and Parquet, also as .gz or .zst; without DATA on the "
        "text of Python's own help pages, which every machine has.",
    )
    add_settings_options(parser)
    parser.add_argument("--out", metavar="DIR", help="the run folder; a new one under runs/ unless given")
    parser.add_argument("--resume", metavar="DIR", help="continue the run in this folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, with a progress bar; then show what came of it."""
    from ..progress import ProgressBar, ReadingBar

    begin = time.perf_counter()
    bar, reading = ProgressBar(), ReadingBar()
    settings = read_settings(options)
    try:
        trained = tinylm.train(
            options.data,
            preset=options.preset,
            out=options.out,
            resume=options.resume,
            callbacks=[bar],
            notify=bar.say,
            progress=reading,
            **settings,
        )
    finally:
        reading.close()
        bar.close()
    _report(trained, time.perf_counter() - begin)
    return 0


def _report(trained: Any, seconds: float) -> None:
    memory, step, kind = trained.trainer.memory, trained.trainer.step, trained.kind
    if trained.stopped:
        print(f"{trained.stopped}; saved at step {step}")
        print(f"to go on: tinylm train --resume {trained.folder}")
        if not trained.best.is_dir():
            return
    if "best_step" in memory:
        headline = kind.headline(trained.tokenizer, trained.best_metrics())
        print(f"best validation: {headline} at step {memory['best_step']}")
    print(f"time: {seconds:.0f} s, of which {memory['seconds']:.0f} s in {step} steps")
    if sample := trained.last_sample():
        print(f"\n{kind.sample_title}:\n{sample}\n")
    print("next:")
    commands = [*kind.next_steps(trained.best), ("tinylm runs", "compare this run with others")]
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        print(f"  {command:<{width}}  # {purpose}")
