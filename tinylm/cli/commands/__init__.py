"""One command a module: `add_to` declares its arguments, `run` does it. Heavy imports wait until a command runs."""

from . import doctor, evaluate, generate, next_token, report, runs, tokens, train, warmup

__all__ = ["COMMANDS"]

COMMANDS = (train, generate, next_token, evaluate, tokens, runs, report, doctor, warmup)
