"""A training step of a GPT, in tinylm and in PyTorch: the workers of `bench_train` for its models (a), (b) and (c)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines import keep_freed_memory, serve

# (batch, context, layers, heads, width, vocabulary): the shapes, and what they are.
MODELS = {
    "a": ((12, 64, 4, 4, 128, 65), "nanoGPT's CPU preset, 0.8M parameters"),
    "b": ((16, 256, 6, 6, 384, 65), "nanoGPT's character model, 10.7M"),
    "c": ((2, 256, 12, 12, 768, 50257), "GPT-2, 124M"),
}
LR, CLIP, DECAY, BETAS = 1e-3, 1.0, 0.1, (0.9, 0.99)


def tinylm_worker(
    pipe: Any,
    name: str,
    threads: int,
    memory_kept: bool = False,
    checkpointing: bool = False,
    precision: str = "float32",
) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    if memory_kept:
        keep_freed_memory()
    import tinylm_kernels as K
    from tinylm.optim import AdamW, clip_scale, parameter_groups

    model = build(name).train()
    model.gradient_checkpointing = checkpointing
    optimizer = AdamW(parameter_groups(model, DECAY), betas=BETAS)
    batches = random_batches(name)

    def step() -> float:
        ids = next(batches)
        optimizer.zero_grad()
        with K.precision(precision):
            loss = model.loss(ids[:, :-1], ids[:, 1:])
            loss.backward()
        optimizer.step(LR, scale=clip_scale(optimizer.gradient_norm(), CLIP))
        return loss.item()

    serve(pipe, step)


def torch_worker(
    pipe: Any,
    name: str,
    threads: int,
    memory_kept: bool = False,
    compiled: bool = False,
    precision: str = "float32",
) -> None:
    if memory_kept:
        keep_freed_memory()
    import torch

    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    from torch_models import TorchGPT2, take_weights, torch_optimizer, torch_step

    torch.set_num_threads(threads)
    ours = build(name)
    model = take_weights(TorchGPT2(ours.config), ours.state_dict())
    del ours
    optimizer = torch_optimizer(model, betas=BETAS, weight_decay=DECAY)
    if compiled:
        model.loss = torch.compile(model.loss)  # model.compile() is for calls of the model itself, which has none
    batches = random_batches(name)
    serve(pipe, lambda: torch_step(model, optimizer, next(batches), lr=LR, clip=CLIP, precision=precision))


def build(name: str) -> Any:
    from tinylm.models import GPT2, GPT2Config
    from tinylm.nn import Initializer

    (_, context, layers, heads, width, vocabulary), _ = MODELS[name]
    config = GPT2Config(vocabulary, n_positions=context, n_embd=width, n_layer=layers, n_head=heads)
    return GPT2(config, Initializer(0))


def random_batches(name: str) -> Iterator[Any]:
    import numpy as np

    (batch, context, *_, vocabulary), _ = MODELS[name]
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, vocabulary, (batch, context + 1)).astype(np.int32)
