"""Every backward kernel against the slope of its forward along one random direction, in float64.

The slope is a central difference of the reference in longdouble: two evaluations whatever the size.
"""

from __future__ import annotations

import numpy as np
import pytest
from cases import cases, variants
from hypothesis import assume, given
from hypothesis import strategies as st

import tinylm_kernels as K

# For each backward kernel: its forward, and the gradients by the forward's arguments (by their position) from
# d, the gradients by its results; a, its arguments; r, its results; s, its settings.
BACKWARD = {
    "softmax_backward": (K.softmax, lambda run, d, a, r, s: {0: run(d[0], r[0])}),
    "gelu_backward": (K.gelu, lambda run, d, a, r, s: {0: run(d[0], a[0], **s)}),
    "silu_backward": (K.silu, lambda run, d, a, r, s: {0: run(d[0], a[0])}),
    "swiglu_backward": (K.swiglu, lambda run, d, a, r, s: dict(enumerate(run(d[0], *a)))),
    "layer_norm_backward": (
        K.layer_norm,
        lambda run, d, a, r, s: dict(enumerate(run(d[0], *a[:2], *r[1:]))),
    ),
    "rms_norm_backward": (K.rms_norm, lambda run, d, a, r, s: dict(enumerate(run(d[0], *a, r[1])))),
    "linear_backward_input": (K.linear, lambda run, d, a, r, s: {0: run(d[0], a[1])}),
    "linear_backward_weight": (K.linear, lambda run, d, a, r, s: {1: run(d[0], a[0])}),
    "linear_backward_bias": (K.linear, lambda run, d, a, r, s: {2: run(d[0])} if a[2] is not None else {}),
    "embedding_backward": (K.embedding, lambda run, d, a, r, s: {0: run(d[0], a[1], rows=len(a[0]))}),
    "attention_backward": (
        K.attention,
        lambda run, d, a, r, s: dict(enumerate(run(d[0], *a[:3], *r, *a[3:], **s))),
    ),
    "attention_backward_bias": (
        K.attention,
        lambda run, d, a, r, s: _with_the_bias(run, (d[0], *a[:3], *r, *a[3:]), s),
    ),
    "lstm_backward": (
        K.lstm,
        # The seventh gradient, if any, is that by the peepholes, argument 7.
        lambda run, d, a, r, s: dict(
            zip((0, 1, 2, 3, 4, 5, 7), run(*d, *a[:3], *a[4:6], r[0], *r[3:], *a[6:]), strict=False)
        ),
    ),
    "gru_backward": (
        K.gru,
        lambda run, d, a, r, s: dict(enumerate(run(*d, *a[:3], a[5], r[0], *r[2:], a[6], **s))),
    ),
}


def _with_the_bias(run, arrays, settings):
    """All gradients together: of a bias that changes nothing, as with a single key, there are rounding errors alone."""
    gradients = dict(enumerate(K.attention_backward.reference(*arrays, **settings)))
    bias = arrays[7]
    return gradients if bias is None or bias.dtype == bool else gradients | {4: run(*arrays, **settings)}


# How many of a forward's results a loss may depend on; the others are saved for the backward.
DIFFERENTIABLE = {"layer_norm": 1, "rms_norm": 1, "attention": 1, "lstm": 3, "gru": 2}


def float64(*kernels):
    return pytest.mark.parametrize(
        ("kernel", "name"), [v.values[:2] for v in variants(*kernels) if v.values[2] == "float64"]
    )


def slope(function, arrays, directions, step):
    """The derivative of function(*arrays) along the directions, a list as long as the list it returns."""

    def at(distance):
        return function(*(a if u is None else a + distance * u for a, u in zip(arrays, directions, strict=True)))

    return [(ahead - behind) / (2 * step) for ahead, behind in zip(at(step), at(-step), strict=True)]


def assert_gradients(gradients, forward, case, d, seed):
    """Whether sum(gradient * direction), over the arguments, is sum(d * slope), over the results."""
    wide = case.cast(np.longdouble)
    rng = np.random.default_rng(seed)
    directions = [rng.standard_normal(a.shape) if i in gradients else None for i, a in enumerate(wide.arrays)]

    def results(*arrays):
        r = forward.reference(*arrays, **case.settings)
        return (r if isinstance(r, tuple) else (r,))[: len(d)]

    eps = np.finfo(np.longdouble).eps
    slopes = slope(results, wide.arrays, directions, step=float(eps) ** (1 / 3))
    expected = [dr * s for dr, s in zip(d, slopes, strict=True)]
    received = [g * directions[i] for i, g in gradients.items()]
    magnitude = sum(float(abs(term).sum()) for term in (*received, *expected))
    error = abs(sum(float(term.sum()) for term in received) - sum(float(term.sum()) for term in expected))
    # The central difference is off by step^2 = eps^(2/3) times a third derivative; half of that exponent
    # leaves room for steep functions and is still far below the error of a wrong formula.
    assert error <= float(eps) ** (1 / 3) * magnitude, (error, magnitude)


def test_every_backward_kernel_is_checked():
    missing = {name for name in K.all_kernels() if "_backward" in name} - set(BACKWARD)
    assert not missing, f"add to BACKWARD in tests/test_kernels_gradients.py: {sorted(missing)}"


@float64(*(K.all_kernels()[name] for name in BACKWARD))
@given(data=st.data())
def test_a_backward_kernel_is_the_gradient_of_its_forward(kernel, name, data):
    forward, gradients_from = BACKWARD[kernel.name]
    case = data.draw(cases(forward.name, "float64", tame=True))
    seed = data.draw(st.integers(0, 99))
    r = forward.reference(*case.arrays, **case.settings)
    r = r if isinstance(r, tuple) else (r,)
    rng = np.random.default_rng(1000 + seed)
    d = [rng.standard_normal(x.shape) for x in r[: DIFFERENTIABLE.get(forward.name, 1)]]
    gradients = gradients_from(kernel[name], d, case.arrays, r, case.settings)
    assert_gradients(gradients, forward, case, d, seed)


@float64(K.cross_entropy_with_gradient)
@given(data=st.data())
def test_cross_entropy_comes_with_scale_times_its_gradient(kernel, name, data):
    case = data.draw(cases("cross_entropy", "float64", tame=True))
    assume(case.arrays[0].shape[1] > 1)  # the gradient of a single class is 0, made of rounding errors
    losses, gradient = kernel[name](*case.arrays, **case.settings, scale=3.0)
    np.testing.assert_array_equal(losses, kernel[name](*case.arrays, **case.settings, scale=1.0)[0])
    finite = np.isfinite(losses)  # a loss stays infinite along every direction
    case = case.map(lambda a: a[finite])
    assert_gradients({0: gradient[finite]}, K.cross_entropy, case, [np.full(finite.sum(), 3.0)], seed=0)


@float64(K.linear_cross_entropy_with_gradients)
@given(data=st.data())
def test_the_cross_entropy_of_a_projection_comes_with_scale_times_its_gradients(kernel, name, data):
    case = data.draw(cases("linear_cross_entropy", "float64", tame=True))
    assume(len(case.arrays[1]) > 1)
    losses, *gradients = kernel[name](*case.arrays, **case.settings, scale=3.0)
    by = dict(zip((0, 1, 3), gradients, strict=False))
    assert_gradients(by, K.linear_cross_entropy, case, [np.full(len(losses), 3.0)], seed=0)


@float64(K.dropout)
@given(data=st.data())
def test_dropout_is_its_own_backward(kernel, name, data):
    case = data.draw(cases("dropout", "float64", tame=True))
    dy = np.random.default_rng(0).standard_normal(case.arrays[0].shape)
    assert_gradients({0: kernel[name](dy, **case.settings)}, K.dropout, case, [dy], seed=1)


@float64(K.rope)
@given(data=st.data())
def test_rope_the_other_way_round_is_its_backward(kernel, name, data):
    case = data.draw(cases("rope", "float64", tame=True))
    dy = np.random.default_rng(0).standard_normal(case.arrays[0].shape)
    back = {**case.settings, "inverse": not case.settings["inverse"]}
    assert_gradients({0: kernel[name](dy, *case.arrays[1:], **back)}, K.rope, case, [dy], seed=1)
