"""tinylm embed: a vector for each text of a file."""

from __future__ import annotations

import argparse
import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import tinylm
from tinylm.errors import TinylmError
from tinylm.extras import check_folder

from ..texts import add_passages, read_given_passages

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "embed",
        help="make a vector of each text of a file",
        description="Make a vector of each text of a file with an encoder: of a sentence encoder's folder, or a model "
        "of the task embeddings. What is longer than the model reads is cut.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, or owner/name")
    add_passages(parser)
    parser.add_argument("--out", metavar="FILE", help="a .npy file: an array of N x C float32")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line: place, text and vector")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the vectors, or print them."""
    import numpy as np

    from tinylm.files import write_atomically

    from ..progress import ReadingBar

    if not (options.out or options.json):
        raise TinylmError("embed: say where the vectors shall go: --out FILE.npy, or --json to print them")
    if options.out:
        if Path(options.out).suffix != ".npy":
            raise TinylmError(f"--out takes a name that ends in .npy, received {options.out!r}")
        check_folder(options.out)
    passages = read_given_passages(options)
    lm = tinylm.load(options.model)
    with closing(ReadingBar(" texts")) as bar:
        vectors = lm.embed([passage.text for passage in passages], progress=bar)
    if options.json:
        for passage, vector in zip(passages, vectors, strict=True):
            place = {"source": passage.source, "line": passage.line}
            print(json.dumps({**place, "text": passage.text, "vector": vector.tolist()}, ensure_ascii=False))
    if options.out:
        raw = io.BytesIO()
        np.save(raw, vectors)
        write_atomically(options.out, raw.getbuffer())
        print(f"{options.out}: {len(vectors):,} vectors of {vectors.shape[1]} numbers, of {passages[0].source}")
