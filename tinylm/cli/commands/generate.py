"""tinylm generate: let a model write."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("generate", help="continue a text", description="Continue a text with a model.")
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help="the text to continue")
    parser.add_argument("--max-tokens", type=int, default=300, metavar="N", help="how many tokens at most (300)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 takes the likeliest token (0.8)")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens only")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that make up P")
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed writes the same text")
    parser.add_argument("--no-cache", action="store_true", help="compute every token from scratch: the same text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the prompt and what follows it, as it is generated."""
    pieces = tinylm.load(options.model).stream(
        options.prompt,
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        seed=options.seed,
        use_cache=not options.no_cache,
    )
    first = next(pieces, "")  # what is wrong with the prompt shows here, before anything is printed
    print(options.prompt + first, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
