"""The time of a training step, against PyTorch, in one run.

    python benchmarks/bench_train.py            # all three models
    python benchmarks/bench_train.py a b --rounds 5 --json results.jsonl
    python benchmarks/bench_train.py --checkpointing    # "again": tinylm with gradient checkpointing

Each engine runs in a process of its own, with the environment it is used with: tinylm as its command line sets it,
PyTorch as it comes. They take turns, a few steps each, so that both see the same machine; while one works, the other
sleeps. A step is everything from the batch to the updated weights: forward, backward, clipping by the global norm,
AdamW. Both start from the same weights and see the same batches; the losses are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

# (batch, context, layers, heads, width, vocabulary): the shapes, and what they are.
MODELS = {
    "a": ((12, 64, 4, 4, 128, 65), "nanoGPT's CPU preset, 0.8M parameters"),
    "b": ((16, 256, 6, 6, 384, 65), "nanoGPT's character model, 10.7M"),
    "c": ((2, 256, 12, 12, 768, 50257), "GPT-2, 124M"),
}
STEPS_A_TURN = {"a": 40, "b": 3, "c": 2}
LR, CLIP, DECAY, BETAS = 1e-3, 1.0, 0.1, (0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="a|b|c", help="all three unless said otherwise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each engine")
    parser.add_argument("--checkpointing", action="store_true", help="with gradient checkpointing as well")
    parser.add_argument("--json", metavar="FILE", help="append the results to a file, one object a line")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.threads} threads; ms a step")
    print(f"{'':4}{'engine':<8}{'minimum':>10}{'median':>10}{'tokens/s':>12}{'peak MB':>10}{'ratio':>8}")
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"there is no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    for name in options.models or MODELS:
        record = compare(name, options.threads, options.rounds, options.checkpointing)
        if options.json:
            with Path(options.json).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def compare(name: str, threads: int, rounds: int, checkpointing: bool) -> dict[str, Any]:
    """Time one model in all engines that are installed; print the table."""
    shape, words = MODELS[name]
    print(f"({name}) {words}: batch {shape[0]}, context {shape[1]}")
    engines = {"tinylm": Engine(tinylm_worker, name, threads)}
    if checkpointing:
        engines["again"] = Engine(partial(tinylm_worker, checkpointing=True), name, threads)
    try:
        import torch

        engines["torch"] = Engine(torch_worker, name, threads)
        versions = {"torch": torch.__version__}
    except ImportError:
        versions = {}
        print("    torch is not installed: nothing to compare with")
    losses = {engine: worker.ask(3)["losses"] for engine, worker in engines.items()}
    check(losses)
    times: dict[str, list[float]] = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine, worker in engines.items():
            times[engine] += worker.ask(STEPS_A_TURN[name])["seconds"]
    record = {"model": name, "threads": threads, "when": datetime.now(UTC).isoformat(timespec="seconds"), **versions}
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    for engine, values in times.items():
        peak = engines[engine].ask(0)["peak_mb"]
        tokens = shape[0] * shape[1] / medians[engine]
        ratio = medians["torch"] / medians["tinylm"] if engine == "tinylm" and "torch" in medians else None
        record[engine] = {"minimum_s": min(values), "median_s": medians[engine], "peak_mb": peak}
        print(
            f"    {engine:<8}{min(values) * 1e3:>10.2f}{medians[engine] * 1e3:>10.2f}{tokens:>12,.0f}{peak:>10,.0f}"
            + (f"{ratio:>7.2f}x" if ratio else "")
        )
    for worker in engines.values():
        worker.close()
    return record


def check(losses: dict[str, list[float]]) -> None:
    """Only engines that compute the same thing are timed."""
    for engine, values in losses.items():
        for mine, theirs in zip(losses["tinylm"], values, strict=True):
            if abs(mine / theirs - 1) > 1e-4:
                raise SystemExit(f"tinylm and {engine} compute different losses: {losses}")


class Engine:
    """A worker process that takes steps when asked."""

    def __init__(self, worker: Any, name: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=worker, args=(theirs, name, threads), daemon=True)
        self._process.start()

    def ask(self, steps: int) -> dict[str, Any]:
        """Take that many steps; what came of them."""
        self._pipe.send(steps)
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def serve(pipe: Any, step: Any) -> None:
    """Answer questions until there are no more; the first answer warms up."""
    while (steps := pipe.recv()) is not None:
        losses, seconds = [], []
        for _ in range(steps):
            begin = time.perf_counter()
            losses.append(step())
            seconds.append(time.perf_counter() - begin)
        pipe.send({"losses": losses, "seconds": seconds, "peak_mb": peak_megabytes()})


def peak_megabytes() -> float:
    """The most memory the process has held, where the system says."""
    try:
        import resource
    except ImportError:
        return float("nan")
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20


def tinylm_worker(pipe: Any, name: str, threads: int, checkpointing: bool = False) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    import tinylm

    tinylm.prepare_process()
    from tinylm.optim import AdamW, clip_scale, parameter_groups

    model = build(name).train()
    model.gradient_checkpointing = checkpointing
    optimizer = AdamW(parameter_groups(model, DECAY), betas=BETAS)
    batches = random_batches(name)

    def step() -> float:
        ids = next(batches)
        optimizer.zero_grad()
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step(LR, scale=clip_scale(optimizer.gradient_norm(), CLIP))
        return loss.item()

    serve(pipe, step)


def torch_worker(pipe: Any, name: str, threads: int) -> None:
    import sys

    import torch

    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from torch_models import TorchGPT2, take_weights, torch_optimizer, torch_step

    torch.set_num_threads(threads)
    ours = build(name)
    model = take_weights(TorchGPT2(ours.config), ours.state_dict())
    del ours
    optimizer = torch_optimizer(model, betas=BETAS, weight_decay=DECAY)
    batches = random_batches(name)
    serve(pipe, lambda: torch_step(model, optimizer, next(batches), lr=LR, clip=CLIP))


def build(name: str) -> Any:
    from tinylm.models import GPT2, GPT2Config
    from tinylm.nn import Initializer

    (_, context, layers, heads, width, vocabulary), _ = MODELS[name]
    config = GPT2Config(vocabulary, n_positions=context, n_embd=width, n_layer=layers, n_head=heads)
    return GPT2(config, Initializer(0))


def random_batches(name: str) -> Any:
    import numpy as np

    (batch, context, *_, vocabulary), _ = MODELS[name]
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, vocabulary, (batch, context + 1)).astype(np.int32)


if __name__ == "__main__":
    main()
