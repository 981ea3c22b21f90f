"""tinylm quantize: a model in fewer bits, and what that costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "quantize",
        help="write a model in fewer bits and say what that costs",
        description="Write a model as one GGUF file with its matrices in 8 to 4 bits, and measure its loss on a text "
        "before and after, as it generates.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("out", metavar="OUT", help="the .gguf file to write")
    parser.add_argument(
        "--to", choices=["q8_0", "q5_0", "q4_0", "q4_k", "int8"], required=True, help="the format of the matrices"
    )
    parser.add_argument("--data", metavar="FILE", help="a text in UTF-8 to measure the loss on")
    parser.add_argument("--tokens", type=int, default=4096, metavar="N", help="of the text's beginning; 4096")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write the file and print sizes and losses."""
    import tinylm
    from tinylm.errors import TinylmError
    from tinylm.formats import convert
    from tinylm.inference import mean_loss

    if options.tokens < 2:
        raise TinylmError(f"--tokens is {options.tokens}, expected at least 2")
    ids, losses = None, []
    before = tinylm.load(options.model)
    if options.data is not None:
        ids = before.tokenizer.encode(Path(options.data).read_text("utf-8"))[: options.tokens]
        losses.append(mean_loss(before.decoder, ids))
    out = convert(options.model, options.out, to="gguf", dtype=options.to)
    after = tinylm.load(out)
    print(f"{out}: {out.stat().st_size / 1e6:,.1f} MB")
    if ids is not None:
        losses.append(mean_loss(after.decoder, ids))
        change = losses[1] / losses[0] - 1
        print(f"loss on {len(ids):,} tokens: {losses[0]:.4f} before, {losses[1]:.4f} after ({change:+.2%})")
