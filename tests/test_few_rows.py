"""The product of a few rows with a transposed matrix, as decoding needs it, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from cases import laid_out
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import threads

import tinylm_kernels as K
from tinylm.bench.calls import Case
from tinylm.bench.tolerance import assert_matches

few_rows = pytest.importorskip("tinylm_kernels.few_rows")

sizes = st.sampled_from((1, 2, 3, 4, 5, 15, 16, 17, 33, 63, 64, 65, 130))


def rows_of(shape, layout, seed):
    x = laid_out(shape, np.float32, layout)
    x[...] = np.random.default_rng(seed).standard_normal(shape)
    return x


@given(
    rows=st.integers(1, few_rows.FEW), outputs=sizes, inputs=sizes, layout=st.sampled_from(("contiguous", "wide rows"))
)
def test_it_is_the_linear_layer_for_any_number_of_threads(rows, outputs, inputs, layout):
    x, w = rows_of((rows, inputs), layout, 0), rows_of((outputs, inputs), layout, 1)
    results = []
    for number in (1, 2):
        y = np.full((rows, outputs), np.nan, np.float32)
        with threads(number, parallel_from=0):
            few_rows.few_rows(x, w, y, add=False)
        results.append(y)
    np.testing.assert_array_equal(*results)
    assert_matches(K.linear, Case((x, w)), results[0])


@given(rows=st.integers(1, 5), outputs=sizes)
def test_it_adds_to_what_is_there_once(rows, outputs):
    x, w, start = rows_of((rows, 17), "contiguous", 0), rows_of((outputs, 17), "contiguous", 1), np.float32(1000)
    y, wide = np.empty((rows, outputs), np.float32), np.full((rows + 1, outputs + 1), start)
    few_rows.few_rows(x, w, y, add=False)
    few_rows.few_rows(x, w, wide[:rows, :outputs], add=True)
    np.testing.assert_array_equal(wide[:rows, :outputs], start + y)
    assert (wide[rows:] == start).all()
    assert (wide[:, outputs:] == start).all()


@pytest.mark.parametrize("rows", [1, 5])
def test_the_linear_layer_uses_it(rows, monkeypatch):
    from tinylm_kernels import blas

    taken = []
    monkeypatch.setattr(blas, "few_rows", lambda x, w, y, *, add: taken.append((len(x), len(w), add)))
    x, w = np.ones((rows, 512), np.float32), np.ones((1024, 512), np.float32)
    K.linear["numba"](x, w)
    K.linear["numba"](x, w, w[:, 0].copy())
    assert taken == [(rows, 1024, False), (rows, 1024, True)]
    K.linear["numba"](x, np.asfortranarray(w))
    K.linear["numba"](np.ones((few_rows.FEW + 1, 512), np.float32), w)
    assert len(taken) == 2


def test_nan_and_infinity_stay_where_they_belong():
    x, w = np.ones((2, 40), np.float32), np.ones((3, 40), np.float32)
    x[0, 39], w[2, 3] = np.nan, np.inf
    y = np.empty((2, 3), np.float32)
    few_rows.few_rows(x, w, y, add=False)
    np.testing.assert_array_equal(y, [[np.nan] * 3, [40, 40, np.inf]])
