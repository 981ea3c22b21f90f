"""Results that are written past the caches are those that are written through them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

import tinylm_kernels as K
from tinylm.bench.cases import BENCHMARKS
from tinylm_kernels import streaming
from tinylm_kernels.streaming import stream_copy, streams

LINE = 64


def placed(shape, past_line):
    """A float32 array, full of NaN, that begins so many numbers past a line."""
    size = int(np.prod(shape))
    buffer = np.full(size + 64, np.nan, np.float32)
    start = -buffer.ctypes.data % LINE // 4 + past_line
    return buffer[start : start + size].reshape(shape)


@pytest.mark.parametrize("columns", [1, 16, 37, 200, 2500])
@pytest.mark.parametrize(
    "name", ["softmax", "softmax_backward", "gelu", "gelu_backward", "silu", "silu_backward", "swiglu", "embedding"]
)
def test_streamed_results_have_the_same_bits(monkeypatch, name, columns):
    monkeypatch.setattr(streaming, "STREAM_FROM", 0)
    dims = (30, 7, columns) if name == "embedding" else (30, columns)
    case = BENCHMARKS[name][0].build(*dims)
    there, past = (placed((30, columns), start) for start in (0, 3))
    assert streams(there.reshape(-1))
    assert not streams(past.reshape(-1))
    for out in (there, past):
        K.all_kernels()[name]["numba"](*case.arrays, **case.settings, out=out)
    np.testing.assert_array_equal(there, past)
    assert np.isfinite(there).all()


@pytest.mark.parametrize("columns", [16, 48, 37])
def test_both_gradients_of_a_gate_are_streamed_into_halves_of_one_array(monkeypatch, columns):
    monkeypatch.setattr(streaming, "STREAM_FROM", 0)
    case = BENCHMARKS["swiglu_backward"][0].build(30, columns)
    results = []
    for start in (0, 3):
        dx = placed((30, 2 * columns), start)
        K.swiglu_backward["numba"](*case.arrays, out=(dx[:, :columns], dx[:, columns:]))
        results.append(dx)
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).all()


@pytest.mark.parametrize("pairs", [16, 20, 32])
def test_turned_heads_are_streamed_where_both_halves_begin_at_lines(monkeypatch, pairs):
    monkeypatch.setattr(streaming, "STREAM_FROM", 0)
    x, angles = np.random.default_rng(0).standard_normal((2, 3, 5, 64), np.float32), np.linspace(0, 9, 5 * pairs)
    tables = [f(angles).astype(np.float32).reshape(5, pairs) for f in (np.cos, np.sin)]
    there, past = (placed(x.shape, start) for start in (0, 3))
    for out in (there, past):
        K.rope["numba"](x, *tables, out=out)
    np.testing.assert_array_equal(there, past)
    assert np.isfinite(there).all()


def test_only_large_arrays_with_rows_that_begin_at_lines_are_streamed():
    large = streaming.STREAM_FROM // 4
    assert streams(placed((large // 32, 32), 0))
    assert not streams(placed((large // 32 - 1, 32), 0))
    assert not streams(placed((large // 32, 33), 0))
    assert not streams(placed((large // 32, 32), 0), placed((large // 32, 32), 1))


@pytest.mark.parametrize("past_line", [0, 1, 15])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_a_copy_past_the_caches_is_whole_and_no_more(size, past_line):
    x, y = np.arange(1, size + 1, dtype=np.float32), placed((size + 20,), past_line)
    stream_copy(x, y[:size])
    np.testing.assert_array_equal(y[:size], x)
    assert np.isnan(y[size:]).all()
