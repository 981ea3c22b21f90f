"""What the kernels promise: sums, masks, causality, rows that do not see each other, NaN that stays NaN."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from cases import cases, plain_case, variants
from hypothesis import assume, given
from hypothesis import strategies as st

import tinylm_kernels as K
from tinylm.bench.calls import Case
from tinylm.bench.tolerance import assert_close, outputs
from tinylm_kernels.dropout.reference import philox
from tinylm_kernels.gelu.reference import normal_distribution

rng = np.random.default_rng


def every(*kernels):
    return pytest.mark.parametrize(("kernel", "name", "dtype"), variants(*kernels))


def normal(dtype, *shape, seed=0):
    return rng(seed).standard_normal(shape).astype(dtype)


# Softmax and cross-entropy


@every(K.softmax)
@given(data=st.data())
def test_softmax_rows_sum_to_one_and_masked_rows_to_zero(kernel, name, dtype, data):
    case = data.draw(cases("softmax", dtype))
    x, y = case.arrays[0], kernel[name](*case.arrays)
    alive = (x > -np.inf).any(axis=-1)
    # A sum of C rounded terms is off by at most C last places.
    np.testing.assert_allclose(y.sum(axis=-1), alive, atol=x.shape[-1] * np.finfo(dtype).eps, rtol=0)
    assert (y[x == -np.inf] == 0).all()


@every(K.softmax)
@given(data=st.data())
def test_softmax_does_not_see_a_shift_of_its_row(kernel, name, dtype, data):
    x = np.round(data.draw(cases("softmax", dtype, tame=True)).arrays[0] * 8) / 8
    # Eighths plus 64 are exact in either dtype, so that the differences to the maximum are the same numbers.
    np.testing.assert_array_equal(kernel[name](x + x.dtype.type(64)), kernel[name](x))


def test_the_exact_gelu_is_x_times_the_normal_distribution_function_of_the_c_library():
    x = np.linspace(-45, 45, 20001)
    phi = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x])
    assert abs(normal_distribution(x) - phi).max() <= 2.0**-52
    assert abs(normal_distribution(x.astype(np.float32)) - phi).max() <= 2.0**-22  # float32 rounds x as well


@every(K.gelu)
@pytest.mark.parametrize("exact", [False, True])
def test_gelu_is_the_identity_far_right_and_zero_far_left(kernel, name, dtype, exact):
    x = np.array([-np.inf, -1e4, -100, 100, 1e4, np.inf], dtype)
    y = kernel[name](x[1:], exact=exact)
    np.testing.assert_array_equal(y, np.where(x > 0, x, 0)[1:])


@every(K.cross_entropy_with_gradient)
@given(data=st.data())
def test_the_losses_with_and_without_the_gradient_agree(kernel, name, dtype, data):
    case = data.draw(cases("cross_entropy", dtype))
    assert_close(kernel[name](*case.arrays, **case.settings)[0], K.cross_entropy.reference, case)


@every(K.cross_entropy, K.cross_entropy_with_gradient)
def test_ignored_rows_have_loss_and_gradient_zero_whatever_they_hold(kernel, name, dtype):
    logits, targets = normal(dtype, 4, 9), np.array([2, K.IGNORE, 3, 5])
    logits[[1, 3]] = np.nan
    for result in outputs(kernel[name](logits, targets, np.array([1, 1, 2, 0], dtype))):
        assert (result[[1, 3]] == 0).all()
        assert result[[0, 2]].all()


@every(K.linear_cross_entropy_with_gradients)
@given(data=st.data())
def test_the_losses_of_a_projection_with_and_without_the_gradients_agree(kernel, name, dtype, data):
    case = data.draw(cases("linear_cross_entropy", dtype))
    assert_close(kernel[name](*case.arrays, **case.settings)[0], K.linear_cross_entropy.reference, case)


@every(K.linear_cross_entropy_with_gradients)
@given(data=st.data())
def test_a_projection_in_chunks_gives_what_it_gives_in_one(kernel, name, dtype, data):
    case = data.draw(cases("linear_cross_entropy_with_gradients", dtype))
    whole = {**case.settings, "rows": None}
    assert_close(kernel[name](*case.arrays, **whole), kernel.reference, case, kernel.name)


@pytest.mark.parametrize("kernel", [K.linear_cross_entropy, K.linear_cross_entropy_with_gradients])
def test_a_projection_in_chunks_never_holds_the_logits(kernel):
    pytest.importorskip("numba")
    N, V = 2048, 10_000
    x, weight = normal("float32", N, 8), normal("float32", V, 8)
    with K.use_pool(K.Pool()) as pool:
        kernel["numba"](x, weight, np.zeros(N, np.int64), rows=128)
        assert pool.free_bytes <= N * V * 4 / 10


# Attention


@every(K.attention)
@pytest.mark.parametrize("more", [0, 5])
def test_causal_attention_does_not_see_later_keys(kernel, name, dtype, more):
    q, k, v = (normal(dtype, 2, 3, 70 + more * (i > 0), 8, seed=i) for i in range(3))
    before = kernel[name](q, k, v, causal=True)[0]
    t = 40
    k[:, :, t + more :], v[:, :, t + more :] = 7, -7
    after = kernel[name](q, k, v, causal=True)[0]
    np.testing.assert_array_equal(after[:, :, :t], before[:, :, :t])
    assert (after[:, :, t:] != before[:, :, t:]).any(axis=(1, 3)).all()


@every(K.attention)
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_attention_behind_a_cache_gives_the_last_rows_of_the_whole(kernel, name, dtype, rows):
    whole = Case(tuple(normal(dtype, 2, 2, 131, 16, seed=i) for i in range(3)), {"causal": True})
    q, k, v = whole.arrays
    result = kernel[name](q[:, :, -rows:], k, v, causal=True)

    def last_rows(*arrays, **settings):
        y, log_sum_exp = K.attention.reference(*arrays, **settings)
        return y[:, :, -rows:], log_sum_exp[:, :, -rows:]

    assert_close(result, last_rows, whole)


@every(K.attention)
def test_hiding_the_last_keys_equals_cutting_them(kernel, name, dtype):
    q, k, v = (normal(dtype, 2, 3, 70, 8, seed=i) for i in range(3))
    mask = np.ones((2, 70), bool)
    mask[:, 33:] = False
    k[:, :, 33:] = 1e4
    result = kernel[name](q, k, v, mask, causal=False)
    assert_close(result, K.attention.reference, Case((q, k[:, :, :33], v[:, :, :33]), {"causal": False}))


@every(K.attention)
def test_a_query_that_sees_no_key_gives_zeros(kernel, name, dtype):
    q, k, v = (normal(dtype, 2, 3, 9, 8, seed=i) for i in range(3))
    mask = np.ones((2, 9), bool)
    mask[0, :4], mask[1] = False, False
    y, log_sum_exp = kernel[name](q, k, v, mask, causal=True)
    for hidden in ((0, slice(None), slice(4)), (1,)):
        assert (y[hidden] == 0).all()
        assert (log_sum_exp[hidden] == -np.inf).all()
    assert np.isfinite(y).all()
    assert np.isfinite(log_sum_exp[0, :, 4:]).all()


@every(K.attention)
@pytest.mark.parametrize("queries", [2, 40])
def test_offsets_place_the_queries_of_each_row_among_its_keys(kernel, name, dtype, queries):
    q, k, v = (normal(dtype, 3, 4, 90 if i else queries, 8, seed=i) for i in range(3))
    offsets = np.array([-1, 7, 50])
    result = kernel[name](q, k[:, ::2], v[:, ::2], None, None, offsets, causal=True, window=(5, None))

    def spelled_out(q, k, v, **_):
        ahead = np.arange(90) - (offsets[:, None, None] + np.arange(queries)[:, None])
        mask = ((ahead <= 0) & (ahead >= -5))[:, None]
        return K.attention.reference(q, k.repeat(2, axis=1), v.repeat(2, axis=1), None, mask, causal=False)

    assert_close(result, spelled_out, Case((q, k[:, ::2], v[:, ::2])))


@every(K.attention)
@pytest.mark.parametrize("queries", [2, 40])
def test_a_bias_of_minus_infinity_hides_what_a_bool_bias_hides(kernel, name, dtype, queries):
    q, k, v = (normal(dtype, 2, 3, 70 if i else queries, 8, seed=i) for i in range(3))
    seen = rng(3).random((2, 1, queries, 70)) < 0.5
    seen[0, 0, 1] = False
    k[:, :, 7], seen[..., 7] = 1e30, False
    by_bool = kernel[name](q, k, v, None, seen, causal=False)
    by_float = kernel[name](q, k, v, None, np.where(seen, 0, -np.inf).astype(dtype), causal=False)
    np.testing.assert_array_equal(by_float[0], by_bool[0])
    assert (by_bool[0][0, :, 1] == 0).all()


@every(K.attention_scores)
def test_the_weights_of_the_scores_make_what_attention_returns(kernel, name, dtype):
    q, k, v = (normal(dtype, 2, 4, 9, 8, seed=i) for i in range(3))
    arrays, settings = (None, normal(dtype, 1, 4, 9, 9, seed=3)), {"causal": True, "window": (4, None), "softcap": 2.0}
    weights = kernel[name](q, k, *arrays, **settings)
    y, _ = K.attention(q, k, v, *arrays, **settings)
    np.testing.assert_allclose(weights @ v, y, rtol=1e-4, atol=1e-6)
    products = kernel[name](q, k, *arrays, **settings, stage="products")
    np.testing.assert_allclose(products, q @ k.swapaxes(2, 3) / 8**0.5, rtol=1e-5, atol=1e-6)


@every(K.attention_backward)
def test_scores_of_thousands_choose_one_key_and_leave_queries_and_keys_no_gradient(kernel, name, dtype):
    T, size = 70, 400
    chosen = rng(0).permutation(T)
    k = size * np.eye(T, dtype=dtype)[None, None]
    q = k[:, :, chosen]  # scores of 19,000 and 0
    v, dy = normal(dtype, 1, 1, T, 8), normal(dtype, 1, 1, T, 8, seed=1)
    saved = y, _ = K.attention[name](q, k, v, causal=False)
    np.testing.assert_array_equal(y, v[:, :, chosen])
    dq, dk, dv = kernel[name](dy, q, k, v, *saved, causal=False)
    np.testing.assert_array_equal(dv[:, :, chosen], dy)
    rounding = 8 * np.finfo(dtype).eps * abs(dy).max() * abs(v).max()  # of a product of 8 terms
    for gradient in (dq, dk):
        np.testing.assert_allclose(gradient, 0, atol=2 * rounding * size * T**-0.5)


@every(K.attention_backward)
def test_the_gradients_of_what_is_hidden_are_zero(kernel, name, dtype):
    q, k, v = (normal(dtype, 2, 3, 9, 8, seed=i) for i in range(3))
    mask = np.ones((2, 9), bool)
    mask[0, :4], mask[1] = False, False
    saved = K.attention.reference(q, k, v, mask, causal=True)
    dq, dk, dv = kernel[name](normal(dtype, *q.shape, seed=3), q, k, v, *saved, mask, causal=True)
    assert (dq[0, :, :4] == 0).all()
    for gradient in (dq, dk, dv):
        assert (gradient[1] == 0).all()
    for gradient in (dk, dv):
        assert (gradient[0, :, :4] == 0).all()
        assert gradient[0, :, 4:].any()


# Rotary positions


def tables(dtype, positions, columns):
    angles = np.arange(positions)[:, None] * 100.0 ** -np.linspace(0, 1, columns // 2)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


@every(K.rope)
@pytest.mark.parametrize("interleaved", [False, True])
def test_the_products_of_turned_rows_see_only_how_far_they_are_apart(kernel, name, dtype, interleaved):
    q, k, cos_sin = normal(dtype, 1, 2, 9, 8), normal(dtype, 1, 2, 9, 8, seed=1), tables(dtype, 70, 8)

    def products(first):
        positions = first + np.arange(9)[None]
        return np.matmul(
            kernel[name](q, *cos_sin, positions, interleaved=interleaved),
            kernel[name](k, *cos_sin, positions, interleaved=interleaved).swapaxes(2, 3),
        )

    # Eight terms, each a product of numbers below 4 that the tables' rounding has moved.
    np.testing.assert_allclose(products(60), products(0), atol=8 * 16 * np.finfo(dtype).eps, rtol=0)


@every(K.rope)
@given(data=st.data())
def test_turning_back_restores_the_rows(kernel, name, dtype, data):
    case = data.draw(cases("rope", dtype))
    x, *rest = case.arrays
    there = kernel[name](x, *rest, **case.settings)
    back = kernel[name](there, *rest, **{**case.settings, "inverse": not case.settings["inverse"]})
    np.testing.assert_allclose(back, x, atol=8 * np.finfo(dtype).eps * abs(x).max(initial=0), rtol=0)


# LSTM and GRU


@every(K.lstm, K.gru)
@given(data=st.data())
def test_with_lengths_each_row_gives_what_it_gives_alone(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    arrays = inspect.signature(kernel.reference).bind(*case.arrays).arguments
    x, lengths = arrays["x"], arrays["lengths"]
    assume(lengths is not None and len(x))
    b = data.draw(st.integers(0, len(x) - 1))
    n, row = lengths[b], slice(b, b + 1)
    states = 2 if kernel is K.lstm else 1
    y, *last = kernel[name](*case.arrays, **case.settings)[: 1 + states]
    assert not y[b, n:].any()
    initial = {name: arrays[name][row] for name in ("h0", "c0") if name in arrays}
    alone = Case(tuple({**arrays, **initial, "x": x[row, :n], "lengths": None}.values()), case.settings)
    result = (y[row, :n], *(state[row] for state in last))
    assert_close(result, lambda *a, **s: kernel.reference(*a, **s)[: 1 + states], alone)


@every(K.lstm)
@given(data=st.data())
def test_peepholes_of_zero_change_nothing(kernel, name, dtype, data):
    case = data.draw(cases("lstm", dtype))
    *arrays, _ = case.arrays
    none = kernel[name](*arrays)
    zero = kernel[name](*arrays, np.zeros(3 * arrays[2].shape[1], dtype))
    for a, b in zip(none, zero, strict=True):
        np.testing.assert_array_equal(a, b)


# Embedding


@every(K.embedding_backward)
@given(data=st.data())
def test_embedding_backward_is_the_adjoint_of_embedding(kernel, name, dtype, data):
    table, ids = data.draw(cases("embedding", dtype)).arrays
    dy = normal(dtype, *ids.shape, table.shape[1])
    dtable = kernel[name](dy, ids, rows=len(table))
    here, there = np.float64(dtable) * table, np.float64(dy) * K.embedding.reference(table, ids)
    terms = abs(here).sum() + abs(there).sum()  # each row of dtable sums up to ids.size terms
    assert abs(here.sum() - there.sum()) <= (ids.size + 1) * np.finfo(dtype).eps * terms


# Dropout


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # Random123's published vectors: zeros, ones, the digits of pi
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    counter, key = ([int(word, 16) for word in text.split()] for text in (counter, key))
    assert " ".join(f"{int(word):08x}" for word in philox(np, counter, key)) == words


@every(K.dropout)
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_rate_and_scales_the_rest(kernel, name, dtype, rate):
    y = kernel[name](np.ones((200, 500), dtype), rate=rate, seed=1, step=2, site=3)
    # Five standard deviations of a binomial count.
    assert abs((y == 0).mean() - rate) < 5 * (rate * (1 - rate) / y.size) ** 0.5
    assert set(np.unique(y)) == {0, y.dtype.type(1 / (1 - rate))}


@every(K.dropout)
@given(data=st.data())
def test_the_mask_of_a_batch_is_that_of_its_slices(kernel, name, dtype, data):
    case = data.draw(cases("dropout", dtype))
    x, keywords = case.arrays[0], case.settings
    cut = data.draw(st.integers(0, len(x)))
    parts = [
        kernel[name](part, **{**keywords, "first_row": keywords["first_row"] + first})
        for first, part in ((0, x[:cut]), (cut, x[cut:]))
        if len(part)
    ]
    if parts:
        np.testing.assert_array_equal(np.concatenate(parts), kernel[name](x, **keywords))


@every(K.dropout)
@pytest.mark.parametrize("change", [{"seed": 2}, {"seed": 1 << 40}, {"step": 0}, {"site": 0}, {"first_row": 64}])
def test_another_seed_step_site_or_row_is_another_mask(kernel, name, dtype, change):
    x, keywords = np.ones((64, 64), dtype), {"rate": 0.5, "seed": 1, "step": 2, "site": 3}
    one, other = kernel[name](x, **keywords), kernel[name](x, **{**keywords, **change})
    assert abs((one == other).mean() - 0.5) < 0.05  # independent masks agree at every other element


# AdamW


@every(K.adamw)
@pytest.mark.parametrize("decoupled", [True, False])
def test_adamw_follows_the_formula_written_out(kernel, name, dtype, decoupled):
    lr, beta1, beta2, eps, decay, factor = 0.01, 0.9, 0.95, 1e-8, 0.1, 0.5
    p, m, v = normal(dtype, 7), np.zeros(7, dtype), np.zeros(7, dtype)
    expected = [[float(x), 0.0, 0.0] for x in p]
    for step in range(1, 21):
        g = normal(dtype, 7, seed=step)
        p, m, v = kernel[name](
            p, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=decay, step=step,
            decoupled=decoupled, scale=factor,
        )  # fmt: skip
        for state, gradient in zip(expected, g, strict=True):
            gi = factor * float(gradient)
            if decoupled:
                state[0] -= lr * decay * state[0]
            else:
                gi += decay * state[0]
            state[1] = beta1 * state[1] + (1 - beta1) * gi
            state[2] = beta2 * state[2] + (1 - beta2) * gi**2
            mean, variance = state[1] / (1 - beta1**step), state[2] / (1 - beta2**step)
            state[0] -= lr * mean / (variance**0.5 + eps)
    # Twenty steps, each a handful of roundings of numbers of size 1.
    np.testing.assert_allclose(np.stack([p, m, v], axis=1), expected, atol=100 * np.finfo(dtype).eps, rtol=0)


# All of them


ROWS = {  # the arguments whose first axis is the batch
    "softmax": (0,),
    "softmax_backward": (0, 1),
    "layer_norm": (0,),
    "rms_norm": (0,),
    "gelu": (0,),
    "gelu_backward": (0, 1),
    "silu": (0,),
    "silu_backward": (0, 1),
    "swiglu": (0, 1),
    "swiglu_backward": (0, 1, 2),
    "rope": (0, 3),
    "linear": (0, 3),
    "linear_backward_input": (0,),
    "embedding": (1,),
    "cross_entropy": (0, 1, 2),
    "cross_entropy_with_gradient": (0, 1, 2),
    "linear_cross_entropy": (0, 2, 4),
    "attention": (0, 1, 2, 3, 4, 5),
    "attention_backward": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "attention_scores": (0, 1, 2, 3, 4),
    "lstm": (0, 4, 5, 6),
    "gru": (0, 5, 6),
}


@every(*(K.all_kernels()[name] for name in ROWS))
@given(data=st.data())
def test_permuting_the_batch_permutes_the_outputs(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    batch = case.arrays[ROWS[kernel.name][0]]
    assume(batch.ndim > (kernel is not K.embedding))
    order = rng(0).permutation(len(batch))
    permuted = tuple(
        a[order] if i in ROWS[kernel.name] and a is not None and len(a) == len(batch) else a
        for i, a in enumerate(case.arrays)
    )
    result = kernel[name](*permuted, **case.settings)
    back = tuple(r[np.argsort(order)] for r in outputs(result))
    assert_close(back if isinstance(result, tuple) else back[0], kernel.reference, case, kernel.name)


@pytest.mark.parametrize(
    ("kernel", "name", "dtype", "position"),
    [
        pytest.param(*v.values, position, id=f"{v.id}-{position}")
        for kernel, positions in {
            K.softmax: (0,),
            K.softmax_backward: (0, 1),
            K.layer_norm: (0, 1, 2),
            K.layer_norm_backward: (0, 1, 2),
            K.rms_norm: (0, 1),
            K.rms_norm_backward: (0, 1, 2, 3),
            K.gelu: (0,),
            K.gelu_backward: (0, 1),
            K.silu: (0,),
            K.silu_backward: (0, 1),
            K.swiglu: (0, 1),
            K.swiglu_backward: (0, 1, 2),
            K.rope: (0, 1, 2),
            K.linear: (0, 1, 2, 3),
            K.embedding: (0,),
            K.embedding_backward: (0,),
            K.cross_entropy: (0,),
            K.cross_entropy_with_gradient: (0,),
            K.linear_cross_entropy: (0, 1, 3),
            K.linear_cross_entropy_with_gradients: (0, 1, 3),
            K.attention: (0, 1, 2),
            K.attention_backward: (0, 1, 2, 3),
            K.attention_backward_bias: (0, 1, 2, 3),
            K.attention_scores: (0, 1),
            K.lstm: (0, 1, 2, 3, 4, 5),
            K.lstm_backward: (0, 1, 2, 3, 4),
            K.gru: (0, 1, 2, 3, 4, 5),
            K.gru_backward: (0, 1, 2, 3, 4),
            K.adamw: (0, 1, 2, 3),
            K.squared_norm: (0,),
        }.items()
        for v in variants(kernel)
        for position in positions
    ],
)
def test_nan_in_gives_nan_out_where_the_reference_has_it(kernel, name, dtype, position):
    case = plain_case(kernel.name, dtype)
    if "causal" in case.settings:  # NaN that the mask hides may come out or not
        case.settings["causal"] = False
    case.arrays[position].flat[0] = np.nan
    if kernel is K.embedding:
        case.arrays[1][0] = 0
    expected = outputs(kernel.reference(*case.arrays, **case.settings))
    assert any(np.isnan(e).any() for e in expected)
    for e, r in zip(expected, outputs(kernel[name](*case.arrays, **case.settings)), strict=True):
        np.testing.assert_array_equal(np.isnan(r), np.isnan(e))
