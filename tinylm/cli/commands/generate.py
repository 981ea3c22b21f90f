"""tinylm generate: let a model write."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import tinylm

from ..sampling_options import add_sampling_options, sampling_settings

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("generate", help="continue a text", description="Continue a text with a model.")
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", default="", help="the text to continue")
    add_sampling_options(parser, max_tokens=300)
    parser.add_argument("--beams", type=int, metavar="N", help="search for the likeliest text with N beams")
    parser.add_argument("--lookup", action="store_true", help="guess tokens from what is there already: faster")
    parser.add_argument("--draft", metavar="MODEL", help="let a smaller model of this vocabulary guess tokens: faster")
    parser.add_argument("--no-cache", action="store_true", help="compute every token from scratch: the same text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the prompt and what follows it, as it is generated."""
    settings = {**sampling_settings(options), "use_cache": not options.no_cache}
    lm = tinylm.load(options.model)
    if options.beams is not None:
        print(options.prompt + lm.beam_search(options.prompt, beams=options.beams, **settings)[0].text)
        return
    if options.lookup or options.draft is not None:
        settings["speculate"] = "lookup" if options.draft is None else tinylm.load(options.draft)
    pieces = lm.stream(options.prompt, **settings)
    first = next(pieces, "")  # what is wrong with the prompt shows here, before anything is printed
    print(options.prompt + first, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()
    if "speculate" in settings:
        usage = pieces.completion.usage
        print(f"({usage.accepted_tokens} of {usage.completion_tokens} tokens were guessed)", file=sys.stderr)
