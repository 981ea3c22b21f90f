"""Optimizers and schedules."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from tinylm.autograd import Parameter
from tinylm.errors import TinylmError
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import SGD, Adam, AdamW, ParameterGroup, clip_scale, make_schedule, parameter_groups


def parameters() -> list[Parameter]:
    rng = np.random.default_rng(0)
    return [Parameter(rng.standard_normal((3, 4))), Parameter(rng.standard_normal(5))]


@pytest.mark.parametrize("make", [SGD, lambda p: SGD(p, momentum=0.9, nesterov=True), Adam, AdamW])
def test_every_optimizer_finds_the_bottom_of_a_bowl(make) -> None:
    ps = parameters()
    optimizer = make(ps)
    for _ in range(400):
        optimizer.zero_grad()
        for p in ps:
            (p * p).sum().backward()
        optimizer.step(0.05)
    assert optimizer.gradient_norm() < 0.05


def test_parameters_live_in_one_flat_buffer_and_keep_their_values() -> None:
    ps = parameters()
    before = [p.data.copy() for p in ps]
    group = ParameterGroup(ps)
    assert all(np.array_equal(p.data, b) for p, b in zip(ps, before, strict=True))
    assert all(np.shares_memory(p.data, group.data) for p in ps)
    assert all(np.shares_memory(p.gradient_buffer, group.gradients) for p in ps)


def test_the_norm_is_that_of_all_gradients_and_a_missing_one_counts_as_zero() -> None:
    ps = parameters()
    optimizer = SGD(ps)
    (ps[0] * 2.0).sum().backward()
    assert optimizer.gradient_norm() == pytest.approx(math.sqrt(12 * 4))
    ps[0].grad[0, 0] = np.nan
    assert not math.isfinite(optimizer.gradient_norm())


def test_clipping_scales_down_and_never_up() -> None:
    assert clip_scale(10.0, 1.0) == pytest.approx(0.1, rel=1e-6)
    assert clip_scale(0.5, 1.0) == 1.0
    assert clip_scale(10.0, None) == 1.0


def test_norms_and_biases_do_not_decay() -> None:
    model = GPT2(GPT2Config(7, n_positions=4, n_embd=8, n_layer=1, n_head=2), Initializer(0))
    decaying, other = parameter_groups(model, 0.1)
    assert (decaying.weight_decay, other.weight_decay) == (0.1, 0.0)
    assert all(p.ndim > 1 for p in decaying.parameters)
    assert all(p.ndim == 1 for p in other.parameters)
    assert len(decaying.parameters) + len(other.parameters) == len(list(model.parameters()))


def test_a_saved_state_continues_with_the_same_bits() -> None:
    def run(optimizer, ps, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            for p in ps:
                (p * p * p).sum().backward()
            optimizer.step(0.01)

    ps = parameters()
    whole = AdamW(ps)
    run(whole, ps, 6)
    qs = parameters()
    first = AdamW(qs)
    run(first, qs, 3)
    rs = [Parameter(q.data.copy()) for q in qs]
    second = AdamW(rs)
    second.load_state_dict({name: array.copy() for name, array in first.state_dict().items()})
    run(second, rs, 3)
    assert all(np.array_equal(p.data, r.data) for p, r in zip(ps, rs, strict=True))
    with pytest.raises(TinylmError, match="does not fit"):
        SGD(parameters()).load_state_dict(first.state_dict())


def test_schedules_rise_to_the_peak_and_end_at_the_final_rate() -> None:
    for name in ("linear", "cosine"):
        rate = make_schedule(name, peak=1.0, final=0.1, warmup=10, steps=100)
        rates = [rate(step) for step in range(101)]
        assert rates[0] == pytest.approx(1 / 11)
        assert max(rates) == rates[10] == 1.0
        assert rates[100] == pytest.approx(0.1)
        assert all(a >= b for a, b in pairwise(rates[10:]))
    constant = make_schedule("constant", peak=1.0, warmup=2, steps=10)
    assert [constant(s) for s in (0, 1, 2, 9)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_schedule("cosinus", peak=1, steps=9), "cosinus"),
        (lambda: make_schedule("linear", peak=1, warmup=10, steps=9), "warm-up of 10"),
        (lambda: SGD(parameters(), momentum=1.0), "momentum is 1.0"),
        (lambda: AdamW(parameters(), betas=(0.9, 1.0)), "betas"),
        (lambda: SGD([]), "no parameters"),
        (lambda: ParameterGroup([Parameter(np.ones(1)), Parameter(np.ones(1, np.float32))]), "one dtype"),
    ],
)
def test_impossible_settings_are_named(make, words) -> None:
    with pytest.raises(ValueError, match=words):
        make()
