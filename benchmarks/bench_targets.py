"""Tokens a second that the decoder of an encoder-decoder writes: by the engine, and by the Module.

    python benchmarks/bench_targets.py

Random weights in the sizes of Marian (6 + 6 layers, 512 wide, 32,000 words) and T5 small; a source of 30 tokens. Both
take turns in one process; the first round does not count.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from tinylm.inference import TargetEngine
from tinylm.models import FAMILIES
from tinylm.nn import Initializer

SIDES = {f"{side}_{name}": value for side in ("encoder", "decoder")
         for name, value in (("layers", 6), ("attention_heads", 8), ("ffn_dim", 2048))}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "marian": {"vocab_size": 32000, "d_model": 512, "max_position_embeddings": 512, "pad_token_id": 31999,
               "decoder_start_token_id": 31999, **SIDES},
    "t5": {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
}  # fmt: skip
TOKENS, ROUNDS = 24, 4


def rate(writer: Any, beams: int) -> float:
    """Tokens a second of all beams together."""
    given = writer.given(np.random.default_rng(0).integers(0, 30000, (1, 30)))
    cache, ids = given.new_cache(beams), np.full((beams, 1), 5)
    given.last_logits(ids, cache)
    begin = time.perf_counter()
    for _ in range(TOKENS):
        given.last_logits(ids, cache)
    return TOKENS * beams / (time.perf_counter() - begin)


def main() -> None:
    """Measure both and print a table."""
    print("| model | beams | Module, tokens/s: median (best) | engine | ratio of medians |\n|---|---|---|---|---|")
    for name, settings in MODELS.items():
        model: Any = FAMILIES[name].from_settings(settings, Initializer(0)).eval()
        writers = (model, TargetEngine.of(model))
        for beams in (1, 4):
            rounds = np.array([[rate(writer, beams) for writer in writers] for _ in range(ROUNDS)])[1:]
            medians = [statistics.median(each) for each in rounds.T]
            cells = " | ".join(f"{m:.0f} ({b:.0f})" for m, b in zip(medians, rounds.max(axis=0), strict=True))
            print(f"| {name} | {beams} | {cells} | {medians[1] / medians[0]:.2f} |")


if __name__ == "__main__":
    main()
