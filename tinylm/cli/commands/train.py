"""tinylm train: learn a text."""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import tinylm

from ..settings_options import add_settings_options, read_settings

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "train",
        help="train a language model on text",
        description="Train a language model on files, folders and patterns of text, JSON Lines, CSV and Parquet, also "
        "as .gz or .zst; without DATA on the text of Python's own help pages, which every machine has.",
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
    memory, step = trained.trainer.memory, trained.trainer.step
    if trained.stopped:
        print(f"{trained.stopped}; saved at step {step}")
        print(f"to go on: tinylm train --resume {trained.folder}")
        if not trained.best.is_dir():
            return
    if "best_val_loss" in memory:
        loss, best_step = memory["best_val_loss"], memory["best_step"]
        print(f"best validation: {_bits(trained, loss)} (loss {loss:.4f}) at step {best_step}")
    print(f"time: {seconds:.0f} s, of which {memory['seconds']:.0f} s in {step} steps")
    if sample := trained.last_sample():
        print(f"\nwhat it writes:\n{sample}\n")
    print("next:")
    best = trained.best
    print(f'  tinylm generate {best} "The "        # let it write')
    print(f'  tinylm next {best} "The quick"       # what may come next, and how likely')
    print(f"  tinylm eval {best} FILE              # how well it predicts another text")
    print("  tinylm runs                          # compare this run with others")


def _bits(trained: Any, loss: float) -> str:
    """The best validation in a unit that other tokenizers can be compared by: characters or bytes, not tokens."""
    if trained.tokenizer.kind == "chars":
        return f"{loss / math.log(2):.3f} bits per character"
    return f"{trained.best_metrics()['val_bits_per_byte']:.3f} bits per byte"
