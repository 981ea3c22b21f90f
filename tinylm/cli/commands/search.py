"""tinylm search: what in a file is nearest to a query in meaning."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import tinylm
from tinylm.extras import check_folder

from ..texts import add_passages, read_given_passages

__all__ = ["add_to", "run"]

SHOWN = 200  # characters of a passage


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "search",
        help="find what is nearest to a query in meaning",
        description="Rank the texts of a file by how near they are to a query in meaning: the cosine of the vectors "
        "that an encoder makes of both. Long texts are searched in parts, which overlap.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a sentence encoder's folder, or owner/name")
    add_passages(parser)
    parser.add_argument("query", metavar="QUERY", help="what is looked for")
    parser.add_argument("-k", type=int, default=5, metavar="N", help="how many are shown; 5 unless given")
    parser.add_argument("--index", metavar="FILE", help="where the vectors are kept, and found the next time")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the score, the place and the beginning of each passage."""
    if options.index:
        check_folder(options.index)
    lm = tinylm.load(options.model)
    for found in lm.search(_index(lm, options), options.query, options.k):
        passage = found.passage
        if options.json:
            place = {"source": passage.source, "line": passage.line, "start": passage.start}
            print(json.dumps({"score": round(found.score, 6), **place, "text": passage.text}, ensure_ascii=False))
        else:
            print(f"{found.score:.3f}  {passage.place}  {' '.join(passage.text.split())[:SHOWN]}")


def _index(lm: Any, options: argparse.Namespace) -> Any:
    """The index that is kept, if it is of this model and these texts, or else a new one."""
    from tinylm.inference import SearchIndex

    from ..progress import ReadingBar

    passages = read_given_passages(options)
    origin = hashlib.sha256()
    for passage in passages:
        origin.update(f"{passage.source}\0{passage.line}\0{passage.text}\0".encode("utf-8", "surrogatepass"))
    if options.index and Path(options.index).exists():
        kept = SearchIndex.open(options.index)
        if kept.origin == origin.hexdigest() and lm.has_made(kept):
            return kept
        print(f"{options.index}: of another model or other texts, made anew", file=sys.stderr)
    with closing(ReadingBar(" texts")) as bar:
        index = lm.index(passages, origin=origin.hexdigest(), progress=bar)
    if options.index:
        index.save(options.index)
    return index
