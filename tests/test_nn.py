"""Modules and layers."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tinylm.autograd import Observer, Tensor, observe
from tinylm.autograd import functional as F
from tinylm.errors import TinylmError
from tinylm.nn import (
    GRU,
    LSTM,
    AttentionCache,
    CrossAttention,
    Dropout,
    FeedForward,
    Initializer,
    LayerNorm,
    Linear,
    Module,
    MultiHeadAttention,
    ParallelBlock,
    RMSNorm,
    Rotary,
    SwiGLU,
    TransformerBlock,
    random_step,
)

RNG = np.random.default_rng(0)


def initializer() -> Initializer:
    return Initializer(0, np.float64)


def gpt2_block(**settings) -> TransformerBlock:
    init = initializer()
    attention, feed_forward = MultiHeadAttention(8, 2, init, causal=True), FeedForward(8, 16, init)
    return TransformerBlock(LayerNorm(8, init), attention, LayerNorm(8, init), feed_forward, **settings)


def llama_block() -> TransformerBlock:
    init = initializer()
    attention = MultiHeadAttention(8, 4, init, causal=True, kv_heads=2, rotary=Rotary(2), qkv_bias=False)
    return TransformerBlock(RMSNorm(8, init), attention, RMSNorm(8, init), SwiGLU(8, 16, init))


def parallel_block() -> ParallelBlock:
    init = initializer()
    attention = MultiHeadAttention(8, 2, init, causal=True, rotary=Rotary(2))
    return ParallelBlock(LayerNorm(8, init), attention, LayerNorm(8, init), FeedForward(8, 16, init))


class Pair(Module):
    def __init__(self) -> None:
        self.layers = [Linear(3, 3, initializer()), Linear(3, 2, initializer(), bias=False)]
        self.tied = self.layers[0].weight

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def test_parameters_are_named_by_their_attributes_and_tied_ones_count_once() -> None:
    pair = Pair()
    assert [name for name, _ in pair.named_parameters()] == ["tied", "layers.0.bias", "layers.1.weight"]
    assert pair.num_parameters() == 9 + 3 + 6
    assert "total" in pair.summary()


def test_a_state_that_does_not_fit_is_refused_whole() -> None:
    pair, other = Pair(), Pair()
    state = {name: array + 1 for name, array in other.state_dict().items()}
    before = {name: array.copy() for name, array in pair.state_dict().items()}
    for change, words in (
        (lambda s: s.pop("tied"), "tied is missing"),
        (lambda s: s.update(extra=np.zeros(1)), "extra is unknown"),
        (lambda s: s.update({"layers.1.weight": np.zeros((3, 2))}), "has shape"),
    ):
        wrong = dict(state)
        change(wrong)
        with pytest.raises(TinylmError, match=words):
            pair.load_state_dict(wrong)
        assert all(np.array_equal(pair.state_dict()[name], before[name]) for name in before)
    pair.load_state_dict(state)
    assert np.array_equal(pair.layers[0].bias.data, state["layers.0.bias"])


def test_train_and_eval_reach_every_module() -> None:
    block = gpt2_block(dropout=0.5)
    assert not block.training
    block.train()
    assert all(module.training for _, module in block.named_modules())
    block.eval()
    assert not any(module.training for _, module in block.named_modules())


def test_an_observer_learns_where_in_the_model_it_is() -> None:
    class Paths(Observer):
        def __init__(self) -> None:
            self.paths: list[tuple[str, str]] = []

        def forward(self, operation):
            self.paths.append((operation.path, operation.name))

    block = gpt2_block()
    with observe(Paths()) as seen:
        block(Tensor(RNG.standard_normal((1, 3, 8))))
    assert ("attention.qkv", "linear") in seen.paths
    assert ("attention", "self_attention") in seen.paths
    assert ("feed_forward", "gelu") in seen.paths


@pytest.mark.parametrize("make", [gpt2_block, llama_block, parallel_block])
def test_a_block_of_a_transformer_takes_at_most_eight_operations(make) -> None:
    class Count(Observer):
        operations = 0

        def forward(self, operation):
            self.operations += 1

    block = make()
    with observe(Count()) as count:
        block(Tensor(RNG.standard_normal((1, 3, 8)), requires_grad=True))
    assert count.operations <= 8


@pytest.mark.parametrize("pre_norm", [True, False])
def test_a_causal_block_does_not_look_ahead(pre_norm: bool) -> None:
    block = gpt2_block(pre_norm=pre_norm)
    x = RNG.standard_normal((2, 6, 8))
    changed = x.copy()
    changed[:, 4:] += 1
    before, after = block(Tensor(x)).data, block(Tensor(changed)).data
    assert np.array_equal(before[:, :4], after[:, :4])
    assert not np.allclose(before[:, 4:], after[:, 4:])


def test_masked_keys_do_not_count() -> None:
    attention = MultiHeadAttention(8, 2, initializer(), causal=False)
    x = RNG.standard_normal((1, 5, 8))
    mask = np.array([[True, True, True, False, False]])
    padded = attention(Tensor(x), key_mask=mask).data[:, :3]
    assert np.allclose(padded, attention(Tensor(x[:, :3])).data, rtol=1e-12)


@pytest.mark.parametrize("window", [None, (2, None)])
def test_grouped_attention_token_by_token_behind_a_cache_equals_the_whole(window) -> None:
    attention = MultiHeadAttention(
        8, 4, initializer(), causal=True, kv_heads=2, head_width=6, value_width=3, window=window
    )
    x, bias = RNG.standard_normal((2, 7, 8)), RNG.standard_normal((1, 4, 7, 7))
    whole = attention(Tensor(x), bias=bias).data
    cache = AttentionCache(2, 2, 7, 6, np.dtype(np.float64), value_width=3)
    steps = [
        attention(Tensor(x[:, t : t + 1]), bias=bias[:, :, t : t + 1, : t + 1], cache=cache).data for t in range(7)
    ]
    assert np.allclose(np.concatenate(steps, axis=1), whole, rtol=1e-10)


def test_a_window_hides_what_lies_outside() -> None:
    attention = MultiHeadAttention(8, 2, initializer(), causal=False, window=(1, 2))
    x = RNG.standard_normal((1, 9, 8))
    changed = x.copy()
    changed[:, 5] += 1
    moved = (attention(Tensor(x)).data != attention(Tensor(changed)).data).any(axis=(0, 2))
    assert moved.tolist() == [t in range(3, 7) for t in range(9)]


def test_cross_attention_to_itself_with_the_same_weights_is_self_attention() -> None:
    itself, cross = MultiHeadAttention(8, 2, initializer(), causal=False), CrossAttention(8, 2, initializer())
    for ours, part in ((cross.query, slice(8)), (cross.key_value, slice(8, None))):
        ours.weight.data, ours.bias.data = itself.qkv.weight.data[part], itself.qkv.bias.data[part]
    cross.projection.load_state_dict(itself.projection.state_dict())
    x, mask = Tensor(RNG.standard_normal((2, 5, 8))), np.arange(5) < np.array([[5], [3]])
    assert np.allclose(cross(x, x, key_mask=mask).data, itself(x, key_mask=mask).data, rtol=1e-12)


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="9 channels do not divide into 2 heads"):
        CrossAttention(9, 2, initializer())
    with pytest.raises(ValueError, match="4 heads are not a multiple of 3 kv_heads"):
        MultiHeadAttention(8, 4, initializer(), causal=True, kv_heads=3)
    with pytest.raises(ValueError, match="self_attention: qkv has 25 channels"):
        F.self_attention(Tensor(np.ones((1, 2, 25))), heads=2, causal=True)


def test_dropout_scales_what_it_keeps_and_depends_on_the_row_of_the_global_batch() -> None:
    dropout = Dropout(0.25, site=3).train()
    x = Tensor(np.ones((8, 500)))
    with random_step(seed=1, step=5):
        whole = dropout(x).data
        again = dropout(x).data
    with random_step(seed=1, step=5, first_row=6):
        part = dropout(Tensor(np.ones((2, 500)))).data
    with random_step(seed=1, step=6):
        other = dropout(x).data
    assert np.array_equal(whole, again)
    assert np.array_equal(whole[6:], part)
    assert not np.array_equal(whole, other)
    assert set(np.unique(whole)) == {0, 1 / 0.75}
    assert 0.2 < (whole == 0).mean() < 0.3
    assert dropout.eval()(x) is x


def test_dropout_without_its_randomness_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="random_step"):
        Dropout(0.5, site=0).train()(Tensor(np.ones((2, 2))))
    with pytest.raises(ValueError, match="rate is 1"):
        Dropout(1, site=0)


def test_variational_dropout_has_one_mask_for_all_steps_of_a_row() -> None:
    dropout = Dropout(0.25, site=3, variational=True).train()
    x = Tensor(np.ones((8, 5, 500)), requires_grad=True)
    with random_step(seed=1, step=5):
        y = dropout(x)
    with random_step(seed=1, step=5, first_row=6):
        part = dropout(Tensor(np.ones((2, 3, 500)))).data
    assert (y.data == y.data[:, :1]).all()
    assert np.array_equal(y.data[6:, :3], part)
    assert not np.array_equal(y.data[0], y.data[1])
    assert 0.2 < (y.data == 0).mean() < 0.3
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)


RECURRENT = {
    "lstm": LSTM,
    "lstm_peepholes": partial(LSTM, peepholes=True),
    "gru": GRU,
    "gru_reset_before": partial(GRU, reset_after=False),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
def test_padded_rows_of_a_recurrent_layer_equal_each_row_alone(kind: str, bidirectional: bool) -> None:
    layer = RECURRENT[kind](3, 4, initializer(), layers=2, bidirectional=bidirectional)
    x = RNG.standard_normal((3, 6, 3))
    lengths = np.array([6, 2, 4])
    y, state = layer(Tensor(x), lengths=lengths)
    assert y.shape == (3, 6, 8 if bidirectional else 4)
    for row, length in enumerate(lengths):
        alone, last = layer(Tensor(x[row : row + 1, :length]))
        assert np.allclose(y.data[row, :length], alone.data[0], rtol=1e-12)
        for arrays, arrays_alone in zip(state, last, strict=True):
            for s, s_alone in zip(arrays, arrays_alone, strict=True):
                assert np.allclose(s.data[row], s_alone.data[0], rtol=1e-12)


@pytest.mark.parametrize("kind", RECURRENT)
def test_a_recurrent_layer_continues_from_its_state(kind: str) -> None:
    layer = RECURRENT[kind](3, 4, initializer(), layers=2)
    x = RNG.standard_normal((2, 7, 3))
    whole, _ = layer(Tensor(x))
    first, state = layer(Tensor(x[:, :3]))
    second, _ = layer(Tensor(x[:, 3:]), state)
    assert np.allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-12)


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_between_recurrent_layers_is_active_in_training_alone(variational: bool) -> None:
    layer = GRU(3, 4, initializer(), layers=2, dropout=0.5, variational=variational)
    x = Tensor(RNG.standard_normal((2, 7, 3)))
    plain, _ = layer(x)
    layer.train()
    with random_step(seed=0, step=0):
        dropped, _ = layer(x)
    assert not np.allclose(plain.data, dropped.data)
    assert np.array_equal(layer.eval()(x)[0].data, plain.data)


def test_zeros_without_a_seed_and_the_same_numbers_in_every_dtype() -> None:
    assert not Initializer(None).normal(3, 4, std=1.0).data.any()
    single, double = Initializer(1).normal(3, 4, std=0.5), Initializer(1, np.float64).normal(3, 4, std=0.5)
    assert double.dtype == np.float64
    assert np.array_equal(single.data, double.data)


def test_heads_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="8 channels do not divide into 3 heads"):
        MultiHeadAttention(8, 3, initializer(), causal=True)


def test_a_llama_half_block_is_its_formula_written_out() -> None:
    norm, layer, x = (
        RMSNorm(6, initializer(), eps=1e-6),
        SwiGLU(6, 10, initializer(), std=1.0),
        RNG.normal(size=(2, 3, 6)),
    )
    norm.weight.data = RNG.normal(size=6)
    normed = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * norm.weight.data
    gate, up = np.split(normed @ layer.gate_up.weight.data.T, 2, axis=-1)
    expected = x + (gate / (1 + np.exp(-gate)) * up) @ layer.down.weight.data.T
    np.testing.assert_allclose(layer(norm(Tensor(x)), Tensor(x)).data, expected, rtol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == ["gate_up.weight", "down.weight"]
