"""The linear layer on packed weights: products of the rounded numbers to float32's precision, and how far these are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import threads

import tinylm_kernels as K
from tinylm.bench.tolerance import compare
from tinylm_kernels.packed import F16, INT8, PACKED, Q4_0, Q8_0, Interleaved, Packed
from tinylm_kernels.packed.interleaved import LAYOUTS

pytest.importorskip("numba")

INTEGERS = [name for name in PACKED if name != "bf16"]
FORMATS = ["f16", *PACKED]
rng = np.random.default_rng


def weights(name: str, outputs: int, inputs: int) -> Packed:
    """Any bits, but for scales of about 0.1, or numbers of about 1."""
    if name == "f16":
        return F16.of(rng(1).standard_normal((outputs, inputs)).astype(np.float16))
    if name == "int8":
        codes = rng(1).integers(0, 256, (outputs, inputs, 1), np.uint8)
        return INT8(codes, rng(2).uniform(0.05, 0.1, outputs).astype(np.float32))
    if name == "bf16":
        return PACKED[name].quantize(rng(1).standard_normal((outputs, inputs)))
    kind = PACKED[name]
    blocks = rng(1).integers(0, 256, (outputs, inputs // kind.block_values, kind.block_bytes), np.uint8)
    halves = rng(2).uniform(0.05, 0.1, (*blocks.shape[:2], 2)).astype("<f2").view(np.uint8)
    if name == "q6_k":
        blocks[..., 208:] = halves[..., :2]
    else:
        fields = 4 if name in ("q4_1", "q5_1", "q4_k", "q5_k") else 2
        blocks[..., :fields] = halves[..., :fields]
    return kind(blocks)


def rounded(x: np.ndarray, size: int = 32) -> np.ndarray:
    """Each 32 numbers, or so many, as multiples of their largest magnitude / 127."""
    blocks = x.reshape(len(x), -1, size)
    peak = np.abs(blocks).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), peak, out=np.zeros_like(peak), where=peak != 0)
    return (np.rint(blocks * inverse) * (peak / np.float32(127))).reshape(x.shape)


def inputs_of(name: str) -> st.SearchStrategy[int]:
    """Numbers in a row: whole units and parts of one, and vectors and their rests."""
    if name in ("f16", "bf16", "int8"):
        return st.sampled_from((1, 15, 16, 17, 63, 64, 65, 130))
    step = PACKED[name].block_values
    return st.integers(1, 1024 // step).map(lambda blocks: step * blocks)


def assert_products(received: np.ndarray, x: np.ndarray, w: np.ndarray) -> None:
    """It is x w^T, within the tolerance of all kernels."""
    expected, truth = x @ w.T, x.astype(np.float64) @ w.T.astype(np.float64)
    largest = max(np.abs(a).max() for a in (x, w, expected))
    compare(received, expected, truth, float(np.finfo(np.float32).eps * largest), "linear")


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_the_products_are_those_of_the_rounded_numbers(name, data) -> None:
    rows, outputs, inputs = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70)), data.draw(inputs_of(name))
    w = weights(name, outputs, inputs)
    x = (rng(3).standard_normal((rows, inputs)) * 10.0 ** rng(4).integers(-3, 4, (rows, 1))).astype(np.float32)
    x[:, : inputs // 3] = data.draw(st.sampled_from((0, 1, -100)))
    results = []
    for number in (1, 2):
        with threads(number, parallel_from=0):
            results.append(K.linear["numba_packed"](x, w))
    np.testing.assert_array_equal(*results)
    assert_products(results[0], x if name in ("f16", "bf16") else rounded(x), w.dequantize())


@pytest.mark.parametrize("name", LAYOUTS)
@given(data=st.data())
def test_interleaved_weights_give_the_products_of_the_rounded_numbers_and_each_row_alone_the_same(name, data) -> None:
    rows, outputs, inputs = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70)), data.draw(inputs_of(name))
    w = weights(name, outputs, inputs)
    interleaved = Interleaved(w)
    x = (rng(3).standard_normal((rows, inputs)) * 10.0 ** rng(4).integers(-3, 4, (rows, 1))).astype(np.float32)
    x[:, : inputs // 3] = data.draw(st.sampled_from((0, 1, -100)))
    results = []
    for number in (1, 2):
        with threads(number, parallel_from=0):
            results.append(K.linear["numba_packed"](x, interleaved))
    np.testing.assert_array_equal(*results)
    assert_products(results[0], rounded(x, inputs if name == "int8" else 32), w.dequantize())
    alone = [K.linear["numba_packed"](x[r : r + 1], interleaved)[0] for r in range(rows)]
    np.testing.assert_array_equal(results[0], alone)
    residual = rng(5).standard_normal((rows, outputs)).astype(np.float32)
    bias = rng(6).standard_normal(outputs).astype(np.float32)
    received = K.linear(x, interleaved, bias, residual)
    np.testing.assert_allclose(received, results[0] + bias + residual, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LAYOUTS)
def test_interleaved_numbers_that_are_none_stay_in_their_row(name) -> None:
    w, x = Interleaved(weights(name, 7, 256)), np.ones((6, 256), np.float32)
    x[1, 37], x[4, 255] = np.nan, np.inf
    np.testing.assert_array_equal(np.isfinite(K.linear(x, w)).all(axis=1), [True, False, True, True, False, True])
    assert_products(K.linear["numpy"](x[:1], w), x[:1], w.dequantize())


@pytest.mark.parametrize("name", ["f16", "bf16"])
@pytest.mark.parametrize("outputs", [1, 33])
def test_many_rows_are_multiplied_with_widened_numbers(name, outputs, monkeypatch) -> None:
    from tinylm_kernels.packed import widening

    w, x = weights(name, outputs, 65), rng(0).standard_normal((70, 65)).astype(np.float32)
    residual, bias = (rng(seed).standard_normal((70, outputs)).astype(np.float32) for seed in (1, 2))
    whole = K.linear(x, w)
    assert_products(whole, x, w.dequantize())
    monkeypatch.setattr(widening, "AT_ONCE", 10 * 65)
    assert_products(K.linear(x, w), x, w.dequantize())
    np.testing.assert_allclose(K.linear(x, w, bias[0], residual), whole + bias[0] + residual, atol=1e-4)


@pytest.mark.parametrize("name", INTEGERS)
def test_the_rounding_is_off_by_half_a_step_at_most(name) -> None:
    w, x = weights(name, 40, 512), rng(0).standard_normal((5, 512)).astype(np.float32)
    exact = x.astype(np.float64) @ w.dequantize().T.astype(np.float64)
    half_steps = np.repeat(np.abs(x).reshape(5, -1, 32).max(-1) / 254, 32, axis=1)
    bound = half_steps @ np.abs(w.dequantize()).T
    error = np.abs(K.linear(x, w) - exact)
    assert (error <= 1.001 * bound).all()
    # Errors of independent signs add up to far less: the root of the sum of squares of uniform ones, times 6.
    assert (error <= 6 * np.sqrt(half_steps**2 / 3 @ (w.dequantize() ** 2).T)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_the_reference_unpacks_some_rows_at_a_time(name) -> None:
    w, x = weights(name, 300, 512), rng(0).standard_normal((2, 3, 512)).astype(np.float32)
    assert_products(K.linear["numpy"](x, w), x, w.dequantize())


@pytest.mark.parametrize("implementation", ["numpy", "numba_packed"])
@pytest.mark.parametrize("name", ["f16", "q8_0"])
def test_bias_residual_and_out_are_those_of_the_linear_layer(name, implementation) -> None:
    w, x = weights(name, 50, 128), rng(0).standard_normal((2, 3, 128)).astype(np.float32)
    bias, residual = (
        rng(1).standard_normal(50).astype(np.float32),
        rng(2).standard_normal((2, 3, 50)).astype(np.float32),
    )
    run = K.linear[implementation]
    expected = run(x, w) + bias + residual
    np.testing.assert_allclose(run(x, w, bias, residual), expected, atol=1e-5)
    out = np.empty_like(residual).swapaxes(0, 1).copy().swapaxes(0, 1)
    assert run(x, w, bias, residual, out=out) is out
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert run(x, w, bias, residual, out=residual) is residual
    np.testing.assert_allclose(residual, expected, atol=1e-5)


def test_the_registry_takes_packed_weights_to_their_kernel() -> None:
    w, x = weights("q8_0", 3, 128), np.ones((1, 128), np.float32)
    np.testing.assert_array_equal(K.linear(x, w), K.linear["numba_packed"](x, w))
    with K.use("numpy"):
        np.testing.assert_array_equal(K.linear(x, w), K.linear["numpy"](x, w))
    with pytest.raises(ValueError, match="the same I"):
        K.linear(x, weights("q8_0", 3, 96))


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_that_are_none_stay_in_their_row(name) -> None:
    w, x = weights(name, 7, 256), np.ones((6, 256), np.float32)
    x[1, 37], x[4, 255] = np.nan, np.inf
    finite = np.isfinite(K.linear(x, w)).all(axis=1)
    np.testing.assert_array_equal(finite, [True, False, True, True, False, True])


def test_the_largest_codes_do_not_overflow() -> None:
    for kind, extreme in ((Q8_0, -128.0), (Q4_0, -8.0)):
        blocks = np.zeros((1, 8, kind.block_bytes), np.uint8)
        blocks[..., :2] = np.array([1.0], "<f2").view(np.uint8)
        blocks[..., 2:] = 0x80 if kind is Q8_0 else 0
        x = np.full((5, 256), -1, np.float32)
        np.testing.assert_array_equal(K.linear(x, kind(blocks)), np.full((5, 1), -256 * extreme))


def test_float16_is_used_where_it_lies() -> None:
    array = rng(0).standard_normal((4, 24)).astype(np.float16)
    w = F16.of(array)
    assert np.shares_memory(w.blocks, array)
    assert w.shape == array.shape
    np.testing.assert_array_equal(w.dequantize(), array.astype(np.float32))
    assert "f16" not in PACKED  # files hold it as NumPy's float16
