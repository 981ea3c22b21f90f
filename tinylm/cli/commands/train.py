"""tinylm train: learn a text."""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "train",
        help="train a language model on text",
        description="Train a language model on files, folders and patterns of text, JSON Lines, CSV and Parquet, also "
        "as .gz or .zst; without DATA on the text of Python's own help pages, which every machine has.",
    )
    parser.add_argument("data", nargs="*", metavar="DATA", help="files, folders, quoted patterns ('data/**/*.jsonl')")
    parser.add_argument("--text-column", metavar="NAME", help="the field or column that is the text; text unless given")
    parser.add_argument(
        "--weights", metavar="W,W,...", help="a number for each of DATA: how often a row of a batch is of it"
    )
    parser.add_argument("--strict", action="store_true", default=None, help="end at a record that cannot be used")
    parser.add_argument("--model", choices=("gpt2", "lstm"), help="the family; gpt2 unless the preset says so")
    parser.add_argument("--preset", metavar="NAME", help="default, nanogpt-cpu or lstm: settings to start from")
    parser.add_argument(
        "--tokenizer",
        metavar="KIND",
        help="what a token is: chars (unless said otherwise), bytes or bpe; or where a tokenizer lies that is used "
        "again: a tokenizer.json, a model folder, a run folder",
    )
    parser.add_argument(
        "--vocab-size", type=int, metavar="N", help="tokens that bpe learns, at most; 2048 unless given"
    )
    parser.add_argument("--out", metavar="DIR", help="the run folder; a new one under runs/ unless given")
    parser.add_argument("--config", metavar="FILE", help="settings from a TOML or JSON file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments", help="one setting; repeatable"
    )
    parser.add_argument("--resume", metavar="DIR", help="continue the run in this folder")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random; 0 unless given")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, with a progress bar; then show what came of it."""
    from ..progress import ProgressBar, ReadingBar

    begin = time.perf_counter()
    bar, reading = ProgressBar(), ReadingBar()
    settings = _settings(options)
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


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Later ones override earlier ones: the file, --set, and the options with a name of their own."""
    from tinylm.tasks import parse_assignments, read_settings_file

    settings: dict[str, Any] = read_settings_file(options.config) if options.config else {}
    settings |= parse_assignments(options.assignments)
    for name in ("model", "tokenizer", "vocab_size", "seed", "text_column", "weights", "strict"):
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    return settings


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
