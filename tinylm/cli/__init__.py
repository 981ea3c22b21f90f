"""The command line: the only place that parses arguments and prints. Floor 9."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import tinylm
from tinylm.errors import DivergedError, TinylmError

from .commands import COMMANDS

__all__ = ["build_parser", "main"]


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tinylm", description="Train small language models on a CPU, look inside them, and use them."
    )
    parser.add_argument("--version", action="version", version=f"tinylm {tinylm.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    0; 2 for a mistake of the user's, told in one line; 3 for a run that diverged; 130 after Ctrl-C.
    """
    tinylm.prepare_process()
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except TinylmError as error:
        print(f"tinylm: error: {error}", file=sys.stderr)
        return 3 if isinstance(error, DivergedError) else 2
    except BrokenPipeError:  # the reader of our output has gone: nothing is left to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"tinylm: error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("tinylm: interrupted", file=sys.stderr)
        return 130
    return 2
