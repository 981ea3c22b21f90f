"""Optimizers and schedules."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.autograd import Parameter
from tinylm.errors import TinylmError
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import (
    DECAY_SHAPES,
    EMA,
    OPTIMIZERS,
    SCHEDULES,
    SGD,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Combined,
    Lion,
    Muon,
    ParameterGroup,
    RMSprop,
    clip_scale,
    elementwise,
    make_optimizer,
    make_schedule,
    orthogonalize,
    parameter_groups,
)


def parameters() -> list[Parameter]:
    rng = np.random.default_rng(0)
    return [Parameter(rng.standard_normal((3, 4))), Parameter(rng.standard_normal(5))]


EVERY = [
    SGD,
    lambda p: SGD(p, momentum=0.9, nesterov=True),
    Adam,
    AdamW,
    Lion,
    RMSprop,
    lambda p: RMSprop(p, momentum=0.5, centered=True),
    Adagrad,
    Adafactor,
    lambda p: Combined([Muon(p[:1]), AdamW(p[1:])]),
]


@pytest.mark.parametrize("make", EVERY)
def test_every_optimizer_finds_the_bottom_of_a_bowl(make) -> None:
    ps = parameters()
    optimizer = make(ps)
    for step in range(400):
        optimizer.zero_grad()
        for p in ps:
            (p * p).sum().backward()
        if step == 0:
            begin = optimizer.gradient_norm()
        optimizer.step(0.3 * 0.98**step)
    assert optimizer.gradient_norm() < 0.05 * begin


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


def tiny_gpt2(**settings) -> GPT2:
    return GPT2(GPT2Config(7, n_positions=4, n_embd=8, n_layer=1, n_head=2, **settings), Initializer(0))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_saved_state_continues_with_the_same_bits(name: str) -> None:
    def run(optimizer, model, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model.loss(np.array([[1, 2, 3]]), np.array([[2, 3, 4]])).backward()
            optimizer.step(0.01)

    models = [tiny_gpt2() for _ in range(3)]
    whole, first, second = (make_optimizer(name, model, weight_decay=0.1) for model in models)
    run(whole, models[0], 6)
    run(first, models[1], 3)
    for group, saved in zip(second.groups, first.groups, strict=True):
        group.data[...] = saved.data
    second.load_state_dict({key: array.copy() for key, array in first.state_dict().items()})
    run(second, models[2], 3)
    state, expected = second.state_dict(), whole.state_dict()
    assert list(state) == list(expected)
    assert all(np.array_equal(state[key], expected[key]) for key in state)
    for group, other in zip(whole.groups, second.groups, strict=True):
        assert np.array_equal(group.data, other.data)
        assert np.isfinite(group.data).all()
    with pytest.raises(TinylmError, match="does not fit"):
        make_optimizer(name, models[0]).load_state_dict({"7.steps": np.array([1])})


@pytest.mark.parametrize("make", EVERY)
def test_clipping_multiplies_the_gradients_and_leaves_them_as_they_are(make) -> None:
    ps, qs = parameters(), parameters()
    clipped, plain = make(ps), make(qs)
    rng = np.random.default_rng(1)
    for _ in range(3):
        gradients = [rng.standard_normal(p.shape) for p in ps]
        for p, q, gradient in zip(ps, qs, gradients, strict=True):
            p.grad, q.grad = gradient, 0.25 * gradient
        clipped.step(0.1, scale=0.25)
        plain.step(0.1)
        assert all(np.array_equal(p.grad, gradient) for p, gradient in zip(ps, gradients, strict=True))
    assert all(np.allclose(p.data, q.data, rtol=1e-13) for p, q in zip(ps, qs, strict=True))


@pytest.mark.parametrize("make", EVERY)
def test_the_rate_of_a_group_multiplies_that_of_the_step(make) -> None:
    ps, qs = parameters(), parameters()
    halved, plain = make(ps), make(qs)
    for group in halved.groups:
        group.rate = 0.5
    for p, q in zip(ps, qs, strict=True):
        p.grad = q.grad = np.ones(p.shape)
    halved.step(0.2)
    plain.step(0.1)
    assert all(np.array_equal(p.data, q.data) for p, q in zip(ps, qs, strict=True))


@pytest.mark.parametrize("make", EVERY[:8])
def test_blocks_do_not_show_in_the_result(make, monkeypatch) -> None:
    results = []
    for block in (1 << 15, 5):
        monkeypatch.setattr(elementwise, "BLOCK", block)
        ps = parameters()
        optimizer = make([ParameterGroup(ps, weight_decay=0.1)])
        for p in ps:
            p.grad = np.sin(p.data)
        optimizer.step(0.1)
        results.append(optimizer.groups[0].data)
    assert np.array_equal(*results)


# How much memory an update of a parameter may take for a while, in shares of its size: Adafactor needs the size of the
# largest matrix, Muon a few of its smaller products.
@pytest.mark.parametrize(
    ("make", "most"),
    [(Adam, 0.01), *[(make, 0.3) for make in (*EVERY[:2], *EVERY[4:8])], (Adafactor, 1.1), (Muon, 5.2)],
)
def test_an_update_takes_little_memory(make, most: float) -> None:
    p = Parameter(np.random.default_rng(0).standard_normal((1024, 512), np.float32))
    optimizer = make([p])
    p.grad = np.ones_like(p.data)
    optimizer.step(0.1)
    tracemalloc.start()
    try:
        optimizer.step(0.1)
        assert tracemalloc.get_traced_memory()[1] < most * p.data.nbytes
    finally:
        tracemalloc.stop()


@given(st.floats(0, 0.999), st.booleans(), st.integers(1, 20))
def test_the_running_mean_is_its_formula_and_gives_the_weights_back(decay: float, warmup: bool, steps: int) -> None:
    ps = parameters()
    groups = [ParameterGroup(ps[:1]), ParameterGroup(ps[1:])]
    ema = EMA(groups, decay, warmup=warmup)
    expected = [p.data.copy() for p in ps]
    rng = np.random.default_rng(0)
    for t in range(steps):
        d = min(decay, (1 + t) / (10 + t)) if warmup else decay
        for p, mean in zip(ps, expected, strict=True):
            p.data[...] = rng.standard_normal(p.shape)
            mean[...] = d * mean + (1 - d) * p.data
        ema.update()
    last = [p.data.copy() for p in ps]
    with ema.applied():
        assert all(np.allclose(p.data, mean, atol=1e-12) for p, mean in zip(ps, expected, strict=True))
    assert all(np.array_equal(p.data, x) for p, x in zip(ps, last, strict=True))
    other = EMA(groups, decay)
    other.load_state_dict({name: array.copy() for name, array in ema.state_dict().items()})
    assert other.updates == steps
    assert all(np.array_equal(a, b) for a, b in zip(other.averages, ema.averages, strict=True))
    with pytest.raises(TinylmError, match="EMA: the saved state does not fit"):
        other.load_state_dict({})


def test_an_error_while_the_mean_is_applied_leaves_the_weights() -> None:
    ps = parameters()
    ema = EMA([ParameterGroup(ps)], 0.5)
    ps[0].data += 1.0
    before = ps[0].data.copy()

    def fail() -> None:
        with ema.applied():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert np.array_equal(ps[0].data, before)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_orthogonalize_brings_singular_values_near_one_and_keeps_their_directions(rows, columns, seed) -> None:
    rng = np.random.default_rng(seed)
    u, _, v = np.linalg.svd(rng.standard_normal((rows, columns)), full_matrices=False)
    x = (u * rng.uniform(0.1, 1.0, len(v))) @ v
    result = orthogonalize(x)
    values = np.einsum("ir,ij,rj->r", u, result, v)
    assert np.allclose((u * values) @ v, result)
    assert values.min() > 0.65
    assert values.max() < 1.25
    assert np.allclose(orthogonalize(x.T), result.T)
    assert np.allclose(orthogonalize(1e4 * x), result)


def test_orthogonalize_leaves_zeros_at_zero() -> None:
    assert not orthogonalize(np.zeros((2, 3))).any()


@pytest.mark.parametrize("tied", [True, False])
def test_muon_takes_the_matrices_inside_and_adamw_the_rest(tied: bool) -> None:
    model = tiny_gpt2(tie_word_embeddings=tied)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer("muon", model, weight_decay=0.1)
    muon, adamw = optimizer.optimizers
    assert isinstance(muon, Muon)
    assert {names[id(p)] for p in muon.groups[0].parameters} == {
        f"blocks.0.{layer}.weight"
        for layer in ("attention.qkv", "attention.projection", "feed_forward.up", "feed_forward.down")
    }
    embeddings = {names[id(p)] for p in adamw.groups[0].parameters}
    assert embeddings == {"tokens.weight", "positions.weight"} | (set() if tied else {"head.weight"})
    assert [group.weight_decay for group in optimizer.groups] == [0.1, 0.1, 0.0]
    assert sum(group.data.size for group in optimizer.groups) == model.num_parameters()


@pytest.mark.parametrize("name", SCHEDULES)
@given(steps=st.integers(1, 300), warmup=st.floats(0, 1), final=st.floats(0, 1), data=st.data())
def test_schedules_rise_to_the_peak_fall_without_a_jump_and_end_at_the_final_rate(
    name: str, steps: int, warmup: float, final: float, data
) -> None:
    warmup = int(0.7 * warmup * steps)
    settings = {"decay_share": data.draw(st.floats(0, 0.2)), "power": data.draw(st.floats(0.5, 4))}
    settings["decay_shape"] = data.draw(st.sampled_from(list(DECAY_SHAPES)))
    rate = make_schedule(name, peak=1.0, final=final, warmup=warmup, steps=steps, **settings)
    rates = [rate(step) for step in range(steps + 2)]
    eps = np.finfo(float).eps
    assert all(a <= b for a, b in pairwise(rates[: warmup + 1]))
    assert all(a >= b - eps for a, b in pairwise(rates[warmup:]))
    assert all(final - eps <= r <= 1 for r in rates[warmup:])
    assert rates[0] > 0
    assert rates[warmup] == 1
    assert warmup == 0 or rates[warmup - 1] >= 1 - 2 / (warmup + 1)
    has_end = name not in ("constant", "inverse_sqrt") and (name != "wsd" or round(settings["decay_share"] * steps))
    assert not has_end or rates[steps] == rates[steps + 1] == final


def test_a_schedule_is_what_its_name_says() -> None:
    def rates(name: str, *steps: int, **settings) -> list[float]:
        rate = make_schedule(name, peak=1.0, warmup=10, steps=110, **settings)
        return [rate(step) for step in steps]

    assert rates("constant", 0, 9, 10, 109) == pytest.approx([1 / 11, 10 / 11, 1, 1])
    assert rates("linear", 10, 60, 85, 110) == pytest.approx([1, 0.5, 0.25, 0])
    assert rates("cosine", 10, 60, 110) == pytest.approx([1, 0.5, 0])
    assert rates("polynomial", 10, 60, 110, power=3) == pytest.approx([1, 0.125, 0])
    assert rates("inverse_sqrt", 10, 40, 90) == pytest.approx([1, 0.5, 1 / 3])
    assert rates("wsd", 10, 88, 99, 110) == pytest.approx([1, 1, 1 - math.sqrt(0.5), 0])
    assert rates("one_cycle", 0, 5, 10, 60, 110) == pytest.approx([0.04, 0.52, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_schedule("cosinus", peak=1, steps=9), "did you mean 'cosine'"),
        (lambda: make_schedule("wsd", peak=1, steps=9, decay_shape="sqrt"), "did you mean '1-sqrt'"),
        (lambda: make_schedule("wsd", peak=1, steps=10, warmup=9, decay_share=0.5), "decay of 5 do not fit"),
        (lambda: make_schedule("linear", peak=1, warmup=10, steps=9), "warm-up of 10"),
        (lambda: SGD(parameters(), momentum=1.0), "momentum is 1.0"),
        (lambda: AdamW(parameters(), betas=(0.9, 1.0)), "beta2 is 1.0"),
        (lambda: Lion(parameters(), betas=(-0.1, 0.9)), "Lion: beta1 is -0.1"),
        (lambda: RMSprop(parameters(), decay=1.5), "decay is 1.5"),
        (lambda: EMA([], 1.0), "decay is 1.0"),
        (lambda: Adafactor(parameters(), beta2_decay=0.8), "beta2_decay is 0.8"),
        (lambda: Muon(parameters()), r"shape \(5,\), expected matrices"),
        (lambda: Muon(parameters()[:1], adjust="none"), "adjust is 'none'"),
        (lambda: make_optimizer("addam", tiny_gpt2()), "did you mean 'adam'"),
        (lambda: SGD([]), "no parameters"),
        (lambda: ParameterGroup([Parameter(np.ones(1)), Parameter(np.ones(1, np.float32))]), "one dtype"),
    ],
)
def test_impossible_settings_are_named(make, words) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_the_documentation_has_a_row_for_every_optimizer_and_schedule() -> None:
    page = (Path(__file__).parent.parent / "docs" / "optimizers.md").read_text(encoding="utf-8")
    for name in (*OPTIMIZERS, *SCHEDULES):
        assert f"| `{name}` |" in page, name
