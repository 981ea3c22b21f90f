"""tinylm classify: what a text is, among the labels that a model knows."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import tinylm
from tinylm.errors import TinylmError

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "classify",
        help="label texts",
        description="Label a text, or each text of a file, with a model of the task classification.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    parser.add_argument("text", metavar="TEXT|FILE", help="a text; or a .txt file, a text a line, CSV, TSV, JSONL, ...")
    parser.add_argument("--pair", metavar="TEXT", help="the second text, for a model of pairs")
    parser.add_argument("--text-column", metavar="NAME", help="of a file: the column of the text; guessed unless given")
    parser.add_argument("--pair-column", metavar="NAME", help="of a file: the column of the second text")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line, with all probabilities")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the label, its probability and the text, a line each."""
    lm = tinylm.load(options.model)
    texts, pairs = _read(options, wants_pairs=bool(lm.task.get("pairs")))
    for text, said in zip(texts, lm.classify(texts, pairs), strict=True):
        if options.json:
            print(
                json.dumps(
                    {"text": text, "labels": said.labels, "probabilities": said.probabilities}, ensure_ascii=False
                )
            )
        else:
            chosen = said.labels or (f"none (nearest: {said.label})",)
            print(f"{', '.join(chosen)}\t{said.probability:.1%}\t{' '.join(text.split())[:100]}")


def _read(options: argparse.Namespace, *, wants_pairs: bool) -> tuple[list[str], list[str] | None]:
    """The texts, and the second ones where there are any."""
    file = Path(options.text)
    try:
        is_file = file.is_file()
    except OSError:  # a text too long for a name
        is_file = False
    if not is_file:
        if wants_pairs and options.pair is None:
            raise TinylmError("this model was trained on pairs of texts: give the second one with --pair")
        return [options.text], None if options.pair is None else [options.pair]
    if file.suffix == ".txt":
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()], None
    from tinylm.data.records import open_records

    fields = {"text": options.text_column}
    if wants_pairs or options.pair_column:
        fields["text_pair"] = options.pair_column
    records = open_records(file, fields, deduplicate=False)
    for message in records.omissions.messages():
        print(f"tinylm: warning: {message}", file=sys.stderr)
    return list(records.column("text")), list(records.column("text_pair")) if "text_pair" in fields else None
