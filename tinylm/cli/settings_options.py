"""The options that choose data and settings, for every command that trains."""

from __future__ import annotations

import argparse
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["add_column_options", "add_settings_options", "read_columns", "read_settings", "repeat_options"]

# What columns of records may hold.
COLUMNS = ("text", "label", "pair", "source", "target", "summary", "question", "context", "answers", "messages",
           "anchor", "positive", "negatives", "score")  # fmt: skip
# The settings that have an option of their own.
NAMED: tuple[str, ...] = (
    *("task", "init", "model", "tokenizer", "vocab_size", "precision", "seed", "weights", "strict"),
    *(f"{field}_column" for field in COLUMNS),
)


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument("data", nargs="*", metavar="DATA", help="files, folders, quoted patterns ('data/**/*.jsonl')")
    add_column_options(parser)
    parser.add_argument(
        "--weights", metavar="W,W,...", help="a number for each of DATA: how often a row of a batch is of it"
    )
    parser.add_argument("--strict", action="store_true", default=None, help="end at a record that cannot be used")
    parser.add_argument("--task", metavar="NAME", help="what is learnt (docs/tasks.md): writing a text unless given")
    parser.add_argument("--init", metavar="MODEL", help="begin with this model: a folder, a .gguf or .npz, owner/name")
    parser.add_argument(
        "--model", metavar="FAMILY", help="of a new model: gpt2, llama, lstm, bert, t5, ... (docs/tasks.md)"
    )
    parser.add_argument("--preset", metavar="NAME", help="settings to start from: default, nanogpt-cpu, lstm or gru")
    parser.add_argument(
        "--tokenizer",
        metavar="KIND",
        help="what a token is: chars (for writing), bytes, bpe, unigram or wordpiece; or where a tokenizer "
        "lies that is used again: a tokenizer.json, a model folder, a run folder",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        metavar="N",
        help="tokens that bpe, unigram or wordpiece learns, at most; 2048 unless given",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="of the matrix products in training: float32, or bfloat16, faster where the processor has AVX512-BF16",
    )
    parser.add_argument("--config", metavar="FILE", help="settings from a TOML or JSON file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="assignments", help="one setting; repeatable"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random; 0 unless given")


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Declare those that say where the fields of records are, which are guessed unless given."""
    for field in COLUMNS:
        parser.add_argument(f"--{field}-column", metavar="NAME", help=f"the field or column that is the {field}")


def read_columns(options: argparse.Namespace) -> dict[str, str]:
    """The columns that the user has named."""
    named = {f"{field}_column": getattr(options, f"{field}_column") for field in COLUMNS}
    return {name: column for name, column in named.items() if column is not None}


def repeat_options(options: argparse.Namespace) -> list[str]:
    """The words of a command line that choose the same data and settings again."""
    words = list(options.data)
    for name in (*NAMED, "preset", "config"):
        if name != "strict" and getattr(options, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    if options.strict:
        words.append("--strict")
    for assignment in options.assignments:
        words += ["--set", assignment]
    return words


def read_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Later ones override earlier ones: the file, --set, and the options with a name of their own."""
    from tinylm.tasks import LEARNT, find_task, parse_assignments, read_settings_file

    settings: dict[str, Any] = read_settings_file(options.config) if options.config else {}
    settings |= parse_assignments(options.assignments)
    for name in NAMED:
        if getattr(options, name) is not None:
            settings[name] = getattr(options, name)
    usual = find_task(settings["task"]).settings_class.tokenizer if "task" in settings else None
    if options.vocab_size is not None and settings.get("tokenizer", usual) not in LEARNT:
        kinds = ", ".join(LEARNT)
        raise TinylmError(f"--vocab-size belongs to --tokenizer {kinds}: other tokenizers have the size that they have")
    return settings
