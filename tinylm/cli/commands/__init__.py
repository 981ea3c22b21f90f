"""One command a module: `add_to` declares its arguments, `run` does it. Heavy imports wait until a command runs."""

from . import (
    bench,
    chat,
    classify,
    convert,
    data,
    doctor,
    evaluate,
    fill,
    generate,
    info,
    lr_find,
    next_token,
    report,
    runs,
    serve,
    tokenizer,
    tokens,
    train,
    tune,
    warmup,
)

__all__ = ["COMMANDS"]

COMMANDS = (
    train,
    tune,
    lr_find,
    generate,
    chat,
    serve,
    next_token,
    fill,
    classify,
    evaluate,
    tokenizer,
    tokens,
    info,
    convert,
    data,
    runs,
    report,
    doctor,
    bench,
    warmup,
)
