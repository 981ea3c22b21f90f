"""The default run of `tinylm train`, and the same run in PyTorch: quality and time.

    python benchmarks/bench_default.py                 # the whole run, both engines
    python benchmarks/bench_default.py --steps 300     # a shorter one

Both train the same model from the same first weights on the same batches with the same optimizer and schedule, and
validate on the same windows at the same steps. Each runs in a process of its own, with the environment it is used
with, and they take turns, a hundred steps each, so that both see the same machine. Times count the steps and the
validations, not the imports.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from engines import Engine

TURN = 100  # steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="instead of the default run's")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    setup = f"{options.preset}:{options.steps or 0}"
    engines = {"tinylm": Engine(tinylm_worker, setup, options.threads)}
    engines["torch"] = Engine(torch_worker, setup, options.threads)
    for engine in engines.values():
        engine.ask(0)  # until both have loaded what they need
    seconds = dict.fromkeys(engines, 0.0)
    print(f"{'step':>6}  {'tinylm':>18}  {'torch':>18}     validation, bits per character, and seconds so far")
    finished = False
    while not finished:
        curves = {}
        for name, engine in engines.items():
            answer = engine.ask(TURN)
            seconds[name] += answer["seconds"]
            curves[name] = answer["validations"]
            finished = answer["finished"]
        for (step, ours), (_, theirs) in zip(curves["tinylm"], curves["torch"], strict=True):
            mine, torchs = (
                f"{v / math.log(2):.4f} {seconds[n]:8.1f} s" for n, v in (("tinylm", ours), ("torch", theirs))
            )
            print(f"{step:>6}  {mine:>18}  {torchs:>18}", flush=True)
    for engine in engines.values():
        engine.close()
    mine, torchs = seconds["tinylm"], seconds["torch"]
    print(f"time: tinylm {mine:.1f} s, torch {torchs:.1f} s: {torchs / mine:.2f}x")


def prepare(setup: str) -> tuple[Any, Any, Any, Any]:
    """Settings, task, first weights as a model of ours, and schedule."""
    from tinylm.data import builtin_corpus
    from tinylm.optim import make_schedule
    from tinylm.tasks import PRESETS, LanguageModelling, build_tokenizer, load_sources, new_model, resolve_settings

    preset, _, steps = setup.partition(":")
    settings = resolve_settings(PRESETS[preset])
    settings = dataclasses.replace(settings, steps=int(steps) or settings.steps)
    corpus = builtin_corpus()
    tokenizer = build_tokenizer(settings, corpus)
    task = LanguageModelling(
        load_sources([corpus], tokenizer, settings),
        batch_size=settings.batch_size,
        context=settings.context,
        seed=settings.seed,
    )
    schedule = make_schedule(
        settings.schedule,
        peak=settings.learning_rate,
        final=settings.final_learning_rate,
        warmup=settings.warmup_steps,
        steps=settings.steps,
    )
    return settings, task, new_model(settings, tokenizer.vocab_size), schedule


def serve(pipe: Any, settings: Any, step: Any, evaluate: Any) -> None:
    """Take steps when asked, validating where the run does; answer with the time both took."""
    done = 0
    while (steps := pipe.recv()) is not None:
        validations = []
        begin = time.perf_counter()
        for _ in range(min(steps, settings.steps - done)):
            step(done)
            done += 1
            if done % settings.validate_every == 0 or done == settings.steps:
                validations.append((done, evaluate()))
        seconds = time.perf_counter() - begin
        pipe.send({"seconds": seconds, "validations": validations, "finished": done == settings.steps})


def tinylm_worker(pipe: Any, setup: str, threads: int) -> None:
    import os

    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    import tinylm

    tinylm.prepare_process()
    from tinylm.cli.commands.warmup import use_every_kernel
    from tinylm.optim import AdamW, parameter_groups
    from tinylm.training import Trainer

    settings, task, model, schedule = prepare(setup)
    optimizer = AdamW(parameter_groups(model, settings.weight_decay), betas=(settings.beta1, settings.beta2))
    trainer = Trainer(model, task, optimizer, schedule, steps=settings.steps, seed=settings.seed, clip=settings.clip)
    model.train()
    use_every_kernel()  # compiles and loads them
    serve(pipe, settings, lambda step: trainer.train_step(), lambda: trainer.evaluate()["loss"])


def torch_worker(pipe: Any, setup: str, threads: int) -> None:
    import sys

    import numpy as np
    import torch

    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from torch_models import TorchGPT2, take_weights, torch_optimizer, torch_step

    from tinylm.data import LanguageModelBatches

    torch.set_num_threads(threads)
    settings, task, ours, schedule = prepare(setup)
    model = take_weights(TorchGPT2(ours.config), ours.state_dict())
    del ours
    optimizer = torch_optimizer(model, betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay)
    windows = LanguageModelBatches(task.sources[0].validation, batch_size=64, context=settings.context, seed=0)

    def step(number: int) -> float:
        inputs, targets = task.batch(number, slice(None))
        ids = np.concatenate([inputs, targets[:, -1:]], axis=1)
        return torch_step(model, optimizer, ids, lr=schedule(number), clip=settings.clip)

    def evaluate() -> float:
        total = count = 0.0
        with torch.no_grad():
            for ids, targets in windows.validation_batches(64):
                counted = int((targets != -100).sum())
                loss = model.loss(*(torch.from_numpy(a.astype(np.int64)) for a in (ids, targets)))
                total, count = total + loss.item() * counted, count + counted
        return total / count

    evaluate()
    serve(pipe, settings, step, evaluate)


if __name__ == "__main__":
    main()
