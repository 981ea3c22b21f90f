"""tinylm data: what a corpus is made of."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import closing
from typing import Any

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "data",
        help="show what a corpus is made of",
        description="Documents, characters, bytes, lengths, repeats, scripts and, with a tokenizer, tokens of files, "
        "folders and patterns of text, JSON Lines, CSV and Parquet.",
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help="files, folders, or quoted patterns")
    parser.add_argument("--text-column", default="text", metavar="NAME", help="the field or column that is the text")
    parser.add_argument("--tokenizer", metavar="KIND", help="count its tokens: as tinylm train takes it")
    parser.add_argument("--strict", action="store_true", help="end at a record that cannot be used")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure, with a progress bar; then print."""
    from tinylm.data import measure_corpus, measure_tokens, open_corpus, tokenize_corpus
    from tinylm.tasks import build_tokenizer, resolve_settings

    from ..progress import ReadingBar

    corpus = open_corpus(options.data, text_column=options.text_column, strict=options.strict)
    with closing(ReadingBar()) as bar:
        statistics = measure_corpus(corpus, progress=bar)
        tokens = None
        if options.tokenizer:
            tokenizer = build_tokenizer(resolve_settings({"tokenizer": options.tokenizer}), corpus)
            tokens = measure_tokens(tokenize_corpus(corpus, tokenizer, progress=bar), statistics)
    if options.json:
        found = dataclasses.asdict(statistics)
        print(json.dumps(found | ({"tokens": dataclasses.asdict(tokens)} if tokens else {})))
        return
    for message in statistics.omissions:
        print(f"tinylm: warning: {message}", file=sys.stderr)
    for name, value in _lines(statistics, tokens):
        print(f"{name:<22} {value}")


def _lines(statistics: Any, tokens: Any) -> list[tuple[str, str]]:
    s = statistics
    scripts = ", ".join(f"{name} {_share(number, s.characters)}" for name, number in s.scripts.items())
    lines = [
        ("documents", f"{s.documents:,}"),
        ("characters", f"{s.characters:,}, {s.distinct_characters:,} of them distinct"),
        ("bytes", f"{s.bytes:,}"),
        ("lines", f"{s.lines:,}"),
        ("characters a document", _lengths(s.lengths)),
        ("exact repeats", f"{s.repeats:,} ({_share(s.repeats, s.documents)} of the documents)"),
        ("scripts", scripts),
        ("control characters", f"{s.control_characters:,}"),
        ("replacement characters", f"{s.replacement_characters:,}"),
    ]
    if tokens:
        lines += [
            ("tokens", f"{tokens.tokens:,}, {tokens.tokens_per_byte:.3f} a byte"),
            ("tokens a document", _lengths(tokens.lengths)),
        ]
    return lines


def _lengths(lengths: Any) -> str:
    return (
        f"min {lengths.min:,}, median {lengths.median:,}, 90 % up to {lengths.p90:,}, 99 % up to {lengths.p99:,}, "
        f"max {lengths.max:,}"
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
