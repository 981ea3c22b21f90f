"""tinylm next: what may come next, and how likely a text is."""

from __future__ import annotations

import argparse
import math
from typing import Any

import tinylm

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "next",
        help="show the distribution over the next token",
        description="Show which tokens may follow a text, and the probability of the text itself by the chain rule.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("text", metavar="TEXT", help="the text so far")
    parser.add_argument("-k", type=int, default=10, metavar="K", help="how many of the likeliest tokens (10)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print both tables."""
    lm = tinylm.load(options.model)
    candidates = lm.next(options.text, options.k)
    print(f"after {options.text!r}:")
    for candidate in candidates:
        bar = "#" * round(40 * candidate.probability)
        print(f"  {candidate.text:<10} {candidate.probability:8.4f}  {bar}")
    score = lm.score(options.text)
    if not score.log_probabilities:
        return
    print("\nthe text itself, each token given those before it:")
    for token, value in zip(score.tokens[1:], score.log_probabilities, strict=True):
        print(f"  {token:<10} ln p = {value:9.4f}   p = {math.exp(value):.4f}")
    mean = score.total / len(score.log_probabilities)
    print(
        f"  {'sum':<10} ln p = {score.total:9.4f}   "
        f"perplexity {math.exp(-mean):.2f}, {-mean / math.log(2):.3f} bits per token"
    )
