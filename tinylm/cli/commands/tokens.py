"""tinylm tokens: how a text splits."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tokens",
        help="show how a text splits into tokens",
        description="Show the tokens of a text, with their ids and the bytes that they stand for.",
    )
    parser.add_argument("tokenizer", metavar="MODEL", help="a tokenizer.json, or a model")
    parser.add_argument("text", metavar="TEXT", help="the text to split")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a line a token."""
    from tinylm.tasks import find_tokenizer

    tokenizer = find_tokenizer(options.tokenizer)
    ids = tokenizer.encode(options.text).tolist()
    for id in ids:
        print(f"{id:>7}  {tokenizer.token(id):<20} {tokenizer.token_bytes(id).hex(' ')}")
    n_bytes = len(options.text.encode())
    print(f"{len(ids)} tokens, {len(options.text)} characters, {n_bytes} bytes; {tokenizer}")
