"""Tensor, its graph and its functions: every gradient against a difference, every misuse against its message."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.autograd import Observer, Parameter, Tensor, check_gradients, checkpoint, differentiable, no_grad, observe
from tinylm.autograd import functional as F


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def away_from_ties(*shape: int) -> np.ndarray:
    """No two equal elements, none near 0: the kinks of relu, max and abs are elsewhere."""
    values = np.random.default_rng(0).permutation(np.prod(shape, dtype=int)).reshape(shape)
    return (values - values.size / 2 + 0.25) / 3


IDS = np.array([[1, 2, 1], [0, 2, 2]])
WEIGHTS = np.array([[0.5, 0, 2], [1, 3, 0.25]])
LENGTHS = np.array([3, 1])
COS, SIN = np.cos(normal(3, 2)), np.sin(normal(3, 2))
MASK = np.array([[True, True, False, True], [True, False, True, True]])

GRADIENTS = {
    "add": (F.add, normal(3, 4), normal(4)),
    "subtract": (F.subtract, normal(3, 4), normal(3, 1)),
    "multiply": (F.multiply, normal(2, 1, 4), normal(3, 1)),
    "divide": (F.divide, normal(3, 4), normal(4) + 4),
    "power": (lambda x: F.power(x, exponent=3), normal(3, 4)),
    "power_operator": (lambda x: x**-2, normal(3) + 4),
    "negative": (F.negative, normal(3)),
    "exp": (F.exp, normal(3, 4)),
    "log": (F.log, abs(normal(3, 4)) + 1),
    "sqrt": (F.sqrt, abs(normal(3, 4)) + 1),
    "absolute": (F.absolute, away_from_ties(3, 4)),
    "tanh": (F.tanh, normal(3, 4)),
    "sigmoid": (F.sigmoid, normal(3, 4)),
    "relu": (F.relu, away_from_ties(3, 4)),
    "maximum": (F.maximum, normal(3, 4), normal(4, seed=1)),
    "minimum": (F.minimum, normal(3, 4), normal(4, seed=1)),
    "where": (lambda a, b: F.where(MASK[:, :3], a, b), normal(2, 3), normal(3)),
    "reshape": (lambda x: x.reshape(4, -1), normal(2, 6)),
    "transpose": (lambda x: x.transpose(2, 0, 1), normal(2, 3, 4)),
    "transpose_all": (lambda x: x.T, normal(2, 3, 4)),
    "broadcast_to": (lambda x: F.broadcast_to(x, shape=(5, 3, 4)), normal(3, 1)),
    "getitem_slice": (lambda x: x[1:, ::-2], normal(3, 5)),
    "getitem_repeated": (lambda x: x[np.array([0, 0, 2])], normal(3, 5)),
    "getitem_mask": (lambda x: x[x.data > 0], normal(3, 5)),
    "concatenate": (lambda a, b: F.concatenate([a, b], axis=1), normal(3, 4), normal(3, 2)),
    "stack": (lambda a, b: F.stack([a, b], axis=-1), normal(3, 4), normal(3, 4, seed=1)),
    "split": (lambda x: F.split(x, sections=[1, 3], axis=1), normal(3, 4)),
    "split_in_part": (lambda x: F.split(x, sections=2, axis=1)[1], normal(3, 4)),
    "sum": (lambda x: x.sum(axis=(0, 2)), normal(2, 3, 4)),
    "sum_keepdims": (lambda x: x.sum(axis=-1, keepdims=True), normal(2, 3, 4)),
    "mean": (lambda x: x.mean(axis=1), normal(2, 3, 4)),
    "mean_all": (lambda x: x.mean(), normal(2, 3, 4)),
    "max": (lambda x: x.max(axis=1), away_from_ties(3, 4)),
    "min": (lambda x: x.min(axis=0, keepdims=True), away_from_ties(3, 4)),
    "matmul": (F.matmul, normal(2, 3, 4), normal(4, 5)),
    "matmul_batched": (F.matmul, normal(2, 1, 3, 4), normal(5, 4, 2)),
    "matmul_vector": (F.matmul, normal(2, 3, 4), normal(4)),
    "matmul_vector_first": (F.matmul, normal(3), normal(2, 3, 4)),
    "matmul_two_vectors": (F.matmul, normal(3), normal(3, seed=1)),
    "linear": (F.linear, normal(2, 3, 4), normal(5, 4), normal(5), normal(2, 3, 5)),
    "linear_alone": (F.linear, normal(3, 4), normal(5, 4)),
    "linear_residual": (lambda x, w, r: F.linear(x, w, None, r), normal(3, 4), normal(5, 4), normal(3, 5)),
    "softmax": (F.softmax, normal(3, 4)),
    "softmax_axis": (lambda x: F.softmax(x, axis=0), normal(3, 4, 2)),
    "log_softmax": (F.log_softmax, normal(3, 4)),
    "log_softmax_axis": (lambda x: F.log_softmax(x, axis=1), normal(3, 4, 2)),
    "layer_norm": (F.layer_norm, normal(2, 3, 4), normal(4), normal(4, seed=1)),
    "rms_norm": (F.rms_norm, normal(2, 3, 4), normal(4)),
    "gelu": (F.gelu, normal(3, 4)),
    "gelu_exact": (lambda x: F.gelu(x, exact=True), normal(3, 4)),
    "silu": (F.silu, normal(3, 4)),
    "swiglu": (F.swiglu, normal(2, 3, 4), normal(2, 3, 4, seed=1)),
    "fused_swiglu": (F.fused_swiglu, normal(2, 3, 8)),
    "rope": (lambda x: F.rope(x, COS, SIN), normal(2, 2, 3, 5)),
    "rope_positions": (lambda x: F.rope(x, COS, SIN, IDS, interleaved=True), normal(2, 2, 3, 5)),
    "embedding": (lambda table: F.embedding(table, IDS), normal(3, 4)),
    "attention": (lambda q, k, v: F.attention(q, k, v, causal=True), normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4)),
    "attention_padded": (lambda q, k, v: F.attention(q, k, v, MASK, causal=False), normal(2, 2, 3, 4), normal(2, 2, 4, 4), normal(2, 2, 4, 4)),
    "self_attention": (lambda x: F.self_attention(x, heads=2, causal=True), normal(2, 4, 12)),
    "self_attention_padded": (lambda x: F.self_attention(x, MASK, heads=2, causal=False), normal(2, 4, 12)),
    "attention_grouped": (lambda q, k, v, b: F.attention(q, k, v, MASK, b, window=(1, 2), softcap=2.0, causal=False), normal(2, 4, 3, 4), normal(2, 2, 4, 4), normal(2, 2, 4, 3), normal(1, 4, 3, 4)),
    "attention_offsets": (lambda q, k, v: F.attention(q, k, v, None, None, np.array([-1, 2]), causal=True), normal(2, 2, 3, 4), normal(2, 2, 4, 4), normal(2, 2, 4, 4)),
    "self_attention_grouped": (lambda x, b: F.self_attention(x, None, b, heads=4, kv_heads=2, value_width=3, causal=True), normal(2, 4, 24), normal(1, 4, 4, 4)),
    "cross_attention": (lambda q, kv: F.cross_attention(q, kv, heads=2), normal(2, 3, 8), normal(2, 5, 16)),
    "cross_attention_grouped": (lambda q, kv, b: F.cross_attention(q, kv, MASK, b, heads=4, kv_heads=2), normal(2, 3, 8), normal(2, 4, 10), normal(2, 1, 3, 4)),
    "lstm": (F.lstm, normal(2, 3, 4), normal(20, 4), normal(20, 5), normal(20), normal(2, 5), normal(2, 5)),
    "lstm_lengths": (lambda *a: F.lstm(*a, LENGTHS), normal(2, 3, 4), normal(20, 4), normal(20, 5), normal(20), normal(2, 5), normal(2, 5)),
    "lstm_peepholes": (lambda *a: F.lstm(*a[:6], LENGTHS, a[6]), normal(2, 3, 4), normal(20, 4), normal(20, 5), normal(20), normal(2, 5), normal(2, 5), normal(15)),
    "gru": (F.gru, normal(2, 3, 4), normal(15, 4), normal(15, 5), normal(15), normal(15, seed=1), normal(2, 5)),
    "gru_reset_before": (lambda *a: F.gru(*a, LENGTHS, reset_after=False), normal(2, 3, 4), normal(15, 4), normal(15, 5), normal(15), normal(15, seed=1), normal(2, 5)),
    "cross_entropy": (lambda x: F.cross_entropy(x, np.array([1, -100, 2])), normal(3, 4)),
    "cross_entropy_weights": (lambda x: F.cross_entropy(x, IDS, WEIGHTS, label_smoothing=0.1), normal(2, 3, 4)),
    "cross_entropy_sum": (lambda x: F.cross_entropy(x, IDS, WEIGHTS, reduction="sum"), normal(2, 3, 4)),
    "cross_entropy_each": (lambda x: F.cross_entropy(x, IDS, WEIGHTS, reduction="none"), normal(2, 3, 4)),
    "cross_entropy_smooth": (lambda x: F.cross_entropy(x, IDS, label_smoothing=0.1), normal(2, 3, 4)),
    "linear_cross_entropy": (lambda x, w: F.linear_cross_entropy(x, w, IDS), normal(2, 3, 4), normal(5, 4)),
    "linear_cross_entropy_bias": (lambda x, w, b: F.linear_cross_entropy(x, w, IDS, b, WEIGHTS, label_smoothing=0.1) * 3.0, normal(2, 3, 4), normal(5, 4), normal(5)),
    "linear_cross_entropy_sum": (lambda x, w: F.linear_cross_entropy(x, w, IDS, reduction="sum"), normal(2, 3, 4), normal(5, 4)),
    "binary_cross_entropy": (lambda x: F.binary_cross_entropy(x, (normal(3, 4) > 0).astype(float)), normal(3, 4, seed=1)),
    "nll_loss": (lambda x: F.nll_loss(x, IDS), normal(2, 3, 4)),
    "nll_loss_weights": (lambda x: F.nll_loss(x, IDS, WEIGHTS, ignore_index=1), normal(2, 3, 4)),
    "nll_loss_each": (lambda x: F.nll_loss(x, IDS, WEIGHTS, reduction="none"), normal(2, 3, 4)),
    "dropout": (lambda x: F.dropout(x, rate=0.3, seed=1, step=2, site=3), normal(3, 7)),
    "checkpoint": (lambda a, b: checkpoint(lambda a, b: (a * b).tanh() @ b.T, a, b), normal(3, 4), normal(3, 4, seed=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_gradient_of_every_function_is_its_derivative(name: str) -> None:
    function, *inputs = GRADIENTS[name]
    check_gradients(function, *inputs)


def test_every_public_function_has_a_gradient_check() -> None:
    checked = {name for name in F.__all__ if any(case == name or case.startswith(f"{name}_") for case in GRADIENTS)}
    assert checked == set(F.__all__)


def test_the_cross_entropy_of_a_projection_is_a_mean_or_a_sum() -> None:
    with pytest.raises(ValueError, match="reduction is 'none', expected 'mean' or 'sum'"):
        F.linear_cross_entropy(normal(3, 4), normal(5, 4), np.array([0, 1, 2]), reduction="none")


def test_check_gradients_catches_a_wrong_gradient_and_a_missing_one() -> None:
    @differentiable
    def wrong(x):
        return x * x, lambda dy: (dy * x * 1.999,)

    @differentiable
    def missing(x):
        return x * x, lambda dy: (None,)

    with pytest.raises(AssertionError, match="error"):
        check_gradients(wrong, normal(3))
    with pytest.raises(TypeError, match="missing has no gradient by its argument 0"):
        check_gradients(missing, normal(3))
    with pytest.raises(TypeError, match="float64"):
        check_gradients(F.exp, normal(3).astype(np.float32))


@given(st.lists(st.sampled_from(["add", "mul", "tanh", "reuse"]), max_size=30), st.integers(0, 99))
def test_graphs_of_any_shape_have_the_right_gradient(steps: list[str], seed: int) -> None:
    def function(a: Tensor, b: Tensor) -> Tensor:
        values = [a, b]
        for number, step in enumerate(steps):
            x, y = values[-1], values[(number * 7) % len(values)]
            values.append({"add": x + y, "mul": x * y, "tanh": (x - y).tanh(), "reuse": (x + x + y).tanh()}[step])
        return values[-1].tanh()

    check_gradients(function, normal(3, seed=seed) / 3, normal(3, seed=seed + 100) / 3, tolerance=1e-5)


def test_a_long_chain_needs_no_recursion() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.sum().backward()
    assert np.array_equal(x.grad, [1, 1])


def test_gradients_add_up_over_uses_and_over_backward_passes() -> None:
    x = Parameter(np.array([2.0, 3.0]))
    (x * x + x).sum().backward()
    assert np.allclose(x.grad, 2 * x.data + 1)
    (x * 2.0).sum().backward()
    assert np.allclose(x.grad, 2 * x.data + 3)


def test_gradients_are_written_into_the_buffer_an_optimizer_gives() -> None:
    weight, bias = Parameter(normal(5, 4)), Parameter(normal(5))
    table = Parameter(normal(3, 4))
    for p in (weight, bias, table):
        p.gradient_buffer = np.full(p.shape, np.nan)
    for _ in range(2):  # the second pass adds
        F.linear(F.embedding(table, IDS), weight, bias).sum().backward()
    for p in (weight, bias, table):
        assert p.grad is p.gradient_buffer
        assert np.isfinite(p.grad).all()
    assert np.allclose(bias.grad, 12)


def test_the_graph_is_freed_by_backward_and_a_second_one_says_so() -> None:
    x = Tensor(normal(3), requires_grad=True)
    y = (x * 2.0).tanh()
    inner = weakref.ref(y)
    z = y.sum()
    z.backward()
    with pytest.raises(RuntimeError, match="freed by an earlier backward"):
        z.backward()
    del y, z
    gc.collect()
    assert inner() is None


def test_no_grad_records_nothing_and_detach_cuts() -> None:
    x = Tensor(normal(3), requires_grad=True)
    with no_grad():
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad
    assert not x.detach().requires_grad
    assert x.detach().data is x.data


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Tensor(np.ones((2, 2)), requires_grad=True).backward(), ValueError, "shape"),
        (lambda: Tensor(np.ones(1)).backward(), RuntimeError, "requires_grad"),
        (lambda: Tensor(np.ones(2), requires_grad=True).backward(np.ones(3)), ValueError, r"\(3,\)"),
        (lambda: Tensor(np.array(["a"])), TypeError, "expected numbers"),
        (lambda: Tensor(np.array([1]), requires_grad=True), TypeError, "floating"),
        (lambda: Tensor(np.ones(3)) @ Tensor(np.ones(4)), ValueError, "size 4"),
        (lambda: F.linear(Tensor(np.ones((2, 3))), np.ones((4, 5))), ValueError, "linear: x has shape"),
        (lambda: F.embedding(Tensor(np.ones((2, 3))), np.array([2])), ValueError, "outside the table of 2 rows"),
        (lambda: F.softmax(Tensor(np.ones((2, 0)))), ValueError, "at least one column"),
        (lambda: F.layer_norm(Tensor(np.ones((2, 3), np.float32)), np.ones(3), np.ones(3)), TypeError, "mix the dtypes"),
    ],
)  # fmt: skip
def test_misuse_is_named(make, error, words) -> None:
    with pytest.raises(error, match=words):
        make()


def test_numbers_become_float32_and_arrays_stay_what_they_are() -> None:
    assert Tensor([1.0, 2.0]).dtype == np.float32
    array = np.arange(3.0)
    assert Tensor(array).data is array
    assert (Tensor([1.0]) * 2.0).dtype == np.float32
    assert (np.ones(2) * Tensor([1.0, 2.0])).shape == (2,)
    assert "made by multiply" in repr(Tensor([1.0], requires_grad=True) * 2)


def test_an_observer_sees_operations_values_and_gradients_and_costs_nothing_after() -> None:
    class Recorder(Observer):
        def __init__(self) -> None:
            self.seen: list[str] = []
            self.gradients: dict[str, np.ndarray] = {}

        def forward(self, operation):
            self.seen.append(operation.name)

        def backward(self, operation):
            self.gradients[operation.name] = operation.gradients[0]

    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    with observe(Recorder()) as recorder:
        y = (x * 3.0).tanh().sum()
    y.backward()
    assert recorder.seen == ["multiply", "tanh", "sum"]
    assert np.array_equal(recorder.gradients["tanh"], [1, 1])
    assert np.allclose(recorder.gradients["multiply"], 1 - np.tanh(3 * x.data) ** 2)
    (x * 3.0).sum().backward()
    assert len(recorder.seen) == 3


def test_a_leaf_that_several_products_take_gets_the_sum_of_their_gradients() -> None:
    first, second, x = normal(5, 4), normal(5, 4, seed=1), Parameter(normal(3, 4))
    x.gradient_buffer = np.full((3, 4), np.nan)
    (F.linear(x, first) + F.linear(x, second)).sum().backward()
    assert np.allclose(x.gradient_buffer, (first + second).sum(axis=0), rtol=1e-12)
