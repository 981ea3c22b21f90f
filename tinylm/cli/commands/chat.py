"""tinylm chat: talk to a model."""

from __future__ import annotations

import argparse
from typing import Any

import tinylm
from tinylm.errors import TinylmError

from ..sampling_options import add_sampling_options, sampling_settings

__all__ = ["add_to", "run"]

HELP = "/reset forgets what was said, /quit leaves; Ctrl-C stops an answer"


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("chat", help="talk to a model", description=f"Talk to a model. {HELP}.")
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("--system", metavar="TEXT", help="what the model is told before the conversation")
    add_sampling_options(parser, max_tokens=500)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read messages and print the answers, until the user leaves."""
    lm = tinylm.load(options.model)
    conversation = lm.conversation(options.system, **sampling_settings(options))
    print(HELP)
    while (line := _read()) is not None:
        if line == "/reset":
            conversation.reset()
            print("(reset)")
        elif line.startswith("/"):
            print(f"({HELP})")
        elif line:
            _answer(conversation, line)


def _read() -> str | None:
    """The next line; None where the user leaves."""
    try:
        line = input("> ").strip()
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:  # at the prompt there is nothing to stop
        print()
        return ""
    return None if line == "/quit" else line


def _answer(conversation: Any, line: str) -> None:
    """Print the answer as it is written, and say what the model no longer sees."""
    before = conversation.forgotten
    try:
        for piece in conversation.send(line):
            print(piece, end="", flush=True)
        print()
    except KeyboardInterrupt:
        print("\n(stopped)")
    except TinylmError as error:
        print(f"({error})")
    if conversation.forgotten > before:
        print(f"(the context is full: the model forgets the first {conversation.forgotten} messages)")
