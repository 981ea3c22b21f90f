"""tinylm convert: a model from one format into another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "convert",
        help="write a model in another format",
        description="Write a model as a folder of safetensors, or as one GGUF or npz file, its weights as they are or "
        "in fewer bits.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model: a folder, a .gguf or .npz file, owner/name")
    parser.add_argument("out", metavar="OUT", help="the folder or the file to write")
    parser.add_argument("--to", choices=["safetensors", "gguf", "npz"], help="the format (what the name of OUT says)")
    parser.add_argument(
        "--dtype", choices=["f32", "f16", "bf16", "q8_0", "q5_0", "q4_0", "q4_k"], help="what the weights become"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Write it and say how large it is."""
    from tinylm.formats import convert

    out = convert(options.model, options.out, to=options.to, dtype=options.dtype)
    files = [out] if out.is_file() else [file for file in out.iterdir() if file.suffix == ".safetensors"]
    print(f"{out}: {sum(Path(file).stat().st_size for file in files) / 1e6:,.1f} MB of weights")
