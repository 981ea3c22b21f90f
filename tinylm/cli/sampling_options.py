"""The options of commands that let a model write: how tokens are chosen, and where the text ends."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_sampling_options", "sampling_settings"]

# By the name of the setting: the type, what stands for the value, and the help.
OPTIONS: dict[str, tuple[type, str, str]] = {
    "top_k": (int, "K", "draw from the K likeliest tokens only"),
    "top_p": (float, "P", "draw from the likeliest tokens that make up P"),
    "min_p": (float, "P", "draw from tokens at least P times as likely as the likeliest"),
    "typical_p": (float, "P", "draw from the most typical tokens that make up P"),
    "repetition_penalty": (float, "X", "above 1: tokens that are there already become less likely"),
    "presence_penalty": (float, "X", "above 0: tokens that were written become less likely"),
    "frequency_penalty": (float, "X", "above 0: the more, the more often they were written"),
    "regex": (str, "R", "write only what matches this regular expression"),
    "seed": (int, "N", "the same seed writes the same text"),
}


def add_sampling_options(parser: argparse.ArgumentParser, *, max_tokens: int) -> None:
    """Declare them; max_tokens: what stands where the user says nothing."""
    parser.add_argument(
        "--max-tokens", type=int, default=max_tokens, metavar="N", help=f"how many tokens at most ({max_tokens})"
    )
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 takes the likeliest token (0.8)")
    for name, (kind, value, text) in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=value, help=text)
    parser.add_argument("--json-schema", metavar="FILE", help="write only JSON that this schema allows")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text; repeatable")


def sampling_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as settings of generation."""
    names = ("max_tokens", "temperature", "stop", *OPTIONS)
    settings = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.json_schema is not None:
        from tinylm.files import read_json  # which loads NumPy: not before a command runs

        settings["json_schema"] = read_json(options.json_schema)
    return settings
