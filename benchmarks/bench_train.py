"""The time of a training step, against PyTorch and Keras, in one run.

    python benchmarks/bench_train.py            # all four models
    python benchmarks/bench_train.py a b --rounds 5 --json results.jsonl
    python benchmarks/bench_train.py a --checkpointing    # tinylm with gradient checkpointing as well
    python benchmarks/bench_train.py b c --bfloat16       # tinylm and PyTorch with products in bfloat16 as well

Each engine runs in a process of its own, as it comes, and once more with an allocator that keeps freed memory, as the
command line of tinylm sets it. They take turns, a few steps each, so that all see the same machine; while one works,
the others sleep. A step is everything from the batch to the updated weights: of a GPT forward, backward, clipping by
the global norm and AdamW; of the tutorial's LSTM what Keras' `train_on_batch` does. All start from the same weights and
see the same batches; the losses are compared before anything is timed. What is not installed is left out; Keras runs on
TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import train_gpt
import train_tutorial
from engines import Engine

MODELS = {name: f"{words}: batch {s[0]}, context {s[1]}" for name, (s, words) in train_gpt.MODELS.items()} | {
    "d": f"{train_tutorial.WORDS}: batch {train_tutorial.BATCH}, {train_tutorial.STEPS} steps"
}
TOKENS = {name: s[0] * s[1] for name, (s, _) in train_gpt.MODELS.items()} | {
    "d": train_tutorial.BATCH * train_tutorial.STEPS
}
STEPS_A_TURN = {"a": 40, "b": 3, "c": 2, "d": 10}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="a|b|c|d", help="all four unless said otherwise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each engine")
    parser.add_argument("--checkpointing", action="store_true", help="with gradient checkpointing as well (a, b, c)")
    parser.add_argument("--bfloat16", action="store_true", help="with products in bfloat16 as well (a, b, c)")
    parser.add_argument("--json", metavar="FILE", help="append the results to a file, one object a line")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads; ms a step")
    print(f"{'':4}{'engine':<24}{'minimum':>10}{'median':>10}{'tokens/s':>12}{'peak MB':>10}   time of tinylm = 1")
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"there is no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    for name in options.models or MODELS:
        record = compare(name, options.threads, options.rounds, options.checkpointing, options.bfloat16)
        if options.json:
            with Path(options.json).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def workers(name: str, checkpointing: bool, bfloat16: bool) -> dict[str, Callable[..., None]]:
    """The engines for a model that are installed, tinylm first. With bfloat16 only as they keep freed memory."""
    module = train_tutorial if name == "d" else train_gpt
    chosen: dict[str, Callable[..., None]] = {"tinylm": module.tinylm_worker}
    if checkpointing and name != "d":
        chosen["tinylm, checkpointing"] = partial(train_gpt.tinylm_worker, checkpointing=True)
    if importlib.util.find_spec("torch"):
        chosen["torch"] = module.torch_worker
        if name != "d":
            chosen["torch compiled"] = partial(train_gpt.torch_worker, compiled=True)
        else:
            chosen["torch without oneDNN"] = partial(train_tutorial.torch_worker, onednn=False)
    if name == "d" and importlib.util.find_spec("tensorflow") and importlib.util.find_spec("keras"):
        chosen["keras on tensorflow"] = train_tutorial.keras_worker
    if bfloat16 and name != "d":
        chosen |= {f"{engine}, bfloat16": partial(worker, precision="bfloat16") for engine, worker in chosen.items()}
    kept = {f"{engine}, kept": partial(worker, memory_kept=True) for engine, worker in chosen.items()}
    return kept if bfloat16 else chosen | kept


def compare(name: str, threads: int, rounds: int, checkpointing: bool, bfloat16: bool) -> dict[str, Any]:
    """Time one model in all engines that are installed; print the table."""
    print(f"({name}) {MODELS[name]}")
    chosen = workers(name, checkpointing, bfloat16)
    engines = {engine: Engine(worker, name, threads) for engine, worker in chosen.items()}
    check({engine: worker.ask(3)["losses"] for engine, worker in engines.items()})
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, worker in engines.items():
            times[engine] += worker.ask(STEPS_A_TURN[name])["seconds"]
    record: dict[str, Any] = {
        "model": name,
        "threads": threads,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    record |= {package: version(package) for package in ("torch", "tensorflow", "keras")}
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    for engine, values in times.items():
        peak = engines[engine].ask(0)["peak_mb"]
        record[engine] = {"minimum_s": min(values), "median_s": medians[engine], "peak_mb": peak}
        ratio = medians[engine] / medians["tinylm, kept" if engine.endswith("kept") else "tinylm"]
        print(
            f"    {engine:<24}{min(values) * 1e3:>10.2f}{medians[engine] * 1e3:>10.2f}"
            f"{TOKENS[name] / medians[engine]:>12,.0f}{peak:>10,.0f}{ratio:>8.2f}"
        )
    for worker in engines.values():
        worker.close()
    return record


def check(losses: dict[str, list[float]]) -> None:
    """Only engines that compute the same thing are timed."""
    first = next(iter(losses.values()))
    for engine, values in losses.items():
        for mine, theirs in zip(first, values, strict=True):
            if abs(mine / theirs - 1) > (1e-2 if "bfloat16" in engine else 1e-4):
                raise SystemExit(f"tinylm and {engine} compute different losses: {losses}")


def version(package: str) -> str | None:
    """The version of a package, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
