"""The options of optimizers that stand for Keras' forms take Keras' steps, for 20 steps with a rate that changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from tinylm.autograd import Parameter
from tinylm.optim import SGD, Adagrad, AdamW, Lion, Muon, Optimizer, ParameterGroup, RMSprop

pytestmark = pytest.mark.oracle

STEPS = 20
SHAPES = ((4, 5), (7, 3), (6,))
Keras = keras.optimizers
RMS = {"decay": 0.9, "eps": 1e-7, "eps_inside_root": True, "rate_in_velocity": True, "decoupled": True}

# Ours, and Keras' with its own defaults; each is called with its parameters.
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], Callable[..., Any]]] = {
    "sgd": (lambda p: SGD(p, decoupled=True), Keras.SGD),
    "momentum": (
        lambda p: SGD(p, momentum=0.9, rate_in_velocity=True, decoupled=True),
        partial(Keras.SGD, momentum=0.9),
    ),
    "nesterov": (
        lambda p: SGD(p, momentum=0.9, nesterov=True, rate_in_velocity=True, decoupled=True),
        partial(Keras.SGD, momentum=0.9, nesterov=True),
    ),
    "rmsprop": (lambda p: RMSprop(p, **RMS), Keras.RMSprop),
    "rmsprop-momentum": (lambda p: RMSprop(p, momentum=0.9, **RMS), partial(Keras.RMSprop, momentum=0.9)),
    "rmsprop-centered": (
        lambda p: RMSprop(p, momentum=0.9, centered=True, **RMS),
        partial(Keras.RMSprop, momentum=0.9, centered=True),
    ),
    "adagrad": (lambda p: Adagrad(p, initial=0.1, eps=1e-7, eps_inside_root=True, decoupled=True), Keras.Adagrad),
    # Keras' Adam decays like its AdamW.
    "adam": (lambda p: AdamW(p, eps=1e-7, eps_hat=True), Keras.Adam),
    "adam-large-eps": (lambda p: AdamW(p, eps=0.1, eps_hat=True), partial(Keras.Adam, epsilon=0.1)),
    "lion": (Lion, Keras.Lion),
}


def run_both(make_ours, make_theirs, dtype: str, decay: float, shapes=SHAPES):
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    ours = [Parameter(x.copy()) for x in start]
    theirs = [keras.Variable(x, dtype=dtype, name=f"p{number}") for number, x in enumerate(start)]
    optimizer = make_ours([ParameterGroup(ours, weight_decay=decay)])
    oracle = make_theirs(weight_decay=decay)
    for step in range(STEPS):
        gradients = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        rate = 2.0 ** -(3 + step // 5)  # Keras keeps it, and the decay, in float32
        oracle.learning_rate = rate
        oracle.apply([keras.ops.convert_to_tensor(g) for g in gradients], theirs)
        for p, g in zip(ours, gradients, strict=True):
            p.grad = g
        optimizer.step(rate)
        optimizer.zero_grad()
    return [p.data for p in ours], [v.value.detach().numpy() for v in theirs]


def assert_equal(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for p, q in zip(ours, theirs, strict=True):
        assert p.dtype == q.dtype
        assert np.abs(p - q).max() <= 4 * STEPS * np.finfo(p.dtype).eps * np.abs(q).max()  # a few roundings a step


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decay", [0.0, 0.125])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_are_those_of_keras(name: str, decay: float, dtype: str) -> None:
    assert_equal(*run_both(*OPTIMIZERS[name], dtype, decay))


def test_twenty_steps_of_muon_are_those_of_keras_in_float32() -> None:
    # In float64 its eps shows, 1e-7 added to the norm where ours is at least that; PyTorch's Muon is compared there.
    make_theirs = partial(Keras.Muon, exclude_embeddings=False)
    assert_equal(*run_both(Muon, make_theirs, "float32", 0.125, shapes=SHAPES[:2]))
