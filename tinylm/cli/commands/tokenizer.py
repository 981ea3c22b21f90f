"""tinylm tokenizer train: learn a tokenizer from text, for several runs to use."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tokenizer",
        help="learn a tokenizer from text",
        description="Learn a tokenizer and write its tokenizer.json into a folder, which --tokenizer takes.",
    )
    actions = parser.add_subparsers(required=True, metavar="train")
    train = actions.add_parser("train", help="learn one from text")
    train.add_argument("data", nargs="+", metavar="DATA", help="files, folders, or quoted patterns")
    train.add_argument("--kind", default="bpe", metavar="KIND", help="bpe (unless given), unigram, wordpiece or chars")
    train.add_argument("--vocab-size", type=int, metavar="N", help="tokens at most; 2048 unless given; not for chars")
    train.add_argument("--text-column", default="text", metavar="NAME", help="the field or column that is the text")
    train.add_argument("--strict", action="store_true", help="end at a record that cannot be used")
    train.add_argument("--out", required=True, metavar="FOLDER", help="where to write tokenizer.json")
    train.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Learn it, with a progress bar; then say how large it is and how short it makes the text."""
    from tinylm.data import open_corpus
    from tinylm.tasks import TOKENIZERS, build_tokenizer, resolve_settings

    from ..progress import ReadingBar

    if options.kind not in TOKENIZERS:
        raise TinylmError(f"--kind is {options.kind!r}; there are {', '.join(TOKENIZERS)}")
    settings: dict[str, Any] = {"tokenizer": options.kind}
    if options.vocab_size is not None:
        settings["vocab_size"] = options.vocab_size
    corpus = open_corpus(options.data, text_column=options.text_column, strict=options.strict)
    with closing(ReadingBar()) as bar:
        for message in corpus.survey(bar).omissions:
            print(f"tinylm: warning: {message}", file=sys.stderr)
        tokenizer = build_tokenizer(resolve_settings(settings), corpus, progress=bar)
    path = tokenizer.save(options.out)
    print(f"{path}: {tokenizer.vocab_size:,} tokens; use it with --tokenizer {options.out}")
