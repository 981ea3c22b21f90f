"""Optimizers take PyTorch's steps: two groups, weight decay, clipping and a rate that changes, for 20 steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tinylm.autograd import Parameter
from tinylm.optim import (
    SGD,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Combined,
    Muon,
    Optimizer,
    ParameterGroup,
    RMSprop,
    clip_scale,
)

pytestmark = pytest.mark.oracle

STEPS = 20
MATRICES = ((4, 5), (7, 3), (6, 6))
OTHERS = ((5,), (1,), (2, 3, 4))
Torch = torch.optim

# Ours and PyTorch's; each is called with groups.
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], Callable[..., Any]]] = {
    "sgd": (SGD, lambda g: Torch.SGD(g, lr=1)),
    "momentum": (lambda g: SGD(g, momentum=0.9), lambda g: Torch.SGD(g, lr=1, momentum=0.9)),
    "nesterov": (
        lambda g: SGD(g, momentum=0.9, nesterov=True),
        lambda g: Torch.SGD(g, lr=1, momentum=0.9, nesterov=True),
    ),
    "adam": (Adam, Torch.Adam),
    "adamw": (lambda g: AdamW(g, eps=1e-6), lambda g: Torch.AdamW(g, eps=1e-6)),
    "rmsprop": (RMSprop, Torch.RMSprop),
    "rmsprop-momentum": (
        lambda g: RMSprop(g, momentum=0.9, decay=0.9),
        lambda g: Torch.RMSprop(g, momentum=0.9, alpha=0.9),
    ),
    "rmsprop-centered": (
        lambda g: RMSprop(g, centered=True, momentum=0.5, eps=1e-6),
        lambda g: Torch.RMSprop(g, centered=True, momentum=0.5, eps=1e-6),
    ),
    "adagrad": (Adagrad, Torch.Adagrad),
    "adagrad-decay": (
        lambda g: Adagrad(g, rate_decay=0.1, initial=0.2),
        lambda g: Torch.Adagrad(g, lr_decay=0.1, initial_accumulator_value=0.2),
    ),
    "adafactor": (Adafactor, Torch.Adafactor),
    "adafactor-settings": (
        lambda g: Adafactor(g, beta2_decay=-0.5, eps1=1e-2, eps2=0.3, clip=1.2),
        lambda g: Torch.Adafactor(g, beta2_decay=-0.5, eps=(1e-2, 0.3), d=1.2),
    ),
}


def run_both(make_ours, make_theirs, dtype, shapes: tuple[tuple, tuple], scales: tuple[float, float]):
    """The parameters of both after the same gradients: two groups, of which the first decays, clipped to norm 1."""
    rng = np.random.default_rng(0)
    start = [[rng.standard_normal(shape).astype(dtype) for shape in group] for group in shapes]
    ours = [[Parameter(x.copy()) for x in group] for group in start]
    theirs = [[torch.nn.Parameter(torch.from_numpy(x.copy())) for x in group] for group in start]
    decays = (0.1, 0.0)
    optimizer = make_ours([ParameterGroup(g, weight_decay=d) for g, d in zip(ours, decays, strict=True)])
    oracles = make_theirs([{"params": g, "weight_decay": d} for g, d in zip(theirs, decays, strict=True)])
    ours, theirs = [p for group in ours for p in group], [q for group in theirs for q in group]
    for step in range(STEPS):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = (rng.standard_normal(p.shape) * scales[step % 2]).astype(dtype)
            q.grad = torch.from_numpy(p.grad.copy())
        rate = 0.1 / (step + 1)
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        for oracle in oracles if isinstance(oracles, list) else [oracles]:
            for group in oracle.param_groups:
                group["lr"] = rate
            oracle.step()
        optimizer.step(rate, scale=clip_scale(optimizer.gradient_norm(), 1.0))
        optimizer.zero_grad()
    return [p.data for p in ours], [q.detach().numpy() for q in theirs]


def assert_equal(ours: list[np.ndarray], theirs: list[np.ndarray], dtype) -> None:
    eps = float(np.finfo(dtype).eps)
    for p, q in zip(ours, theirs, strict=True):
        assert p.dtype == q.dtype
        assert np.abs(p - q).max() <= 4 * STEPS * eps * np.abs(q).max()  # a few roundings a step


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_are_those_of_pytorch(name: str, dtype) -> None:
    ours, theirs = run_both(*OPTIMIZERS[name], dtype, (MATRICES, OTHERS), (3.0, 0.01))
    assert_equal(ours, theirs, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
def test_twenty_steps_of_muon_with_adamw_are_those_of_pytorch(adjust: str, nesterov: bool, dtype, monkeypatch) -> None:
    # PyTorch iterates in bfloat16, to be fast on GPUs; the formula is compared in full precision.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)

    def make_ours(groups):
        return Combined([Muon(groups[:1], nesterov=nesterov, adjust=adjust), AdamW(groups[1:])])

    def make_theirs(groups):
        return [Torch.Muon(groups[:1], nesterov=nesterov, adjust_lr_fn=adjust), Torch.AdamW(groups[1:])]

    ours, theirs = run_both(make_ours, make_theirs, dtype, (MATRICES, OTHERS), (3.0, 0.01))
    assert_equal(ours, theirs, dtype)
