"""tinylm info: what a model takes."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_to", "run"]


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "info",
        help="count parameters, operations and memory of a model",
        description="Show what a model takes, for training and for use. Weights are not needed: a config.json does, or "
        "a family and its settings: tinylm info gpt2 --set n_layer=96 --set n_embd=12288 --set n_head=96",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, a .gguf or .npz file, a config.json, or a family")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    parser.add_argument("--context", type=int, metavar="TOKENS", help="tokens of a row; what the config says")
    parser.add_argument("--batch", type=int, default=1, metavar="ROWS", help="rows at a time; 1")
    parser.add_argument("--machine-gb", type=float, default=16, metavar="GB", help="memory of a machine; 16")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a table."""
    from tinylm.errors import TinylmError
    from tinylm.inspect import machines, measure_sizes, model_without_weights, read_sized_config

    if min(options.batch, options.machine_gb, 1 if options.context is None else options.context) <= 0:
        raise TinylmError("--batch, --context and --machine-gb must be above 0")
    model = model_without_weights(read_sized_config(options.model, options.set))
    context = options.context or getattr(model, "context", None) or 512
    sizes = measure_sizes(model, context=context, batch=options.batch)
    print(f"{model.architecture}: {sizes.parameters:,} parameters, {sizes.looked_up:,} of them in embeddings")
    print(
        f"FLOPs for a token, at {context:,} tokens: {sizes.flops:.3g} forward, {sizes.training_flops:.3g} in training"
    )
    memory = {
        "to use it, weights in float32": sizes.inference_bytes(),
        "to use it, weights in 16 bits": sizes.inference_bytes(2),
        "to use it, weights in 4 bits (Q4_0)": sizes.inference_bytes(4.5 / 8),  # 18 bytes for 32 weights
        "to train it with AdamW in float32": sizes.training_bytes,
    }
    print(f"{f'memory, batch {options.batch:,} x {context:,}':<40}{'GB':>12}   machines of {options.machine_gb:g} GB")
    for name, total in memory.items():
        print(f"{name:<40}{total / 1e9:>12,.3f}   {machines(total, options.machine_gb):,}")
