"""The tolerance lets rounding pass and stops mistakes."""

from __future__ import annotations

import numpy as np
import pytest

import tinylm_kernels as K
from tinylm.bench.calls import Case
from tinylm.bench.tolerance import assert_matches


@pytest.fixture(params=["float32", "float64"])
def dot_products(request):
    """Rows of x by rows of W, 300 numbers long, and a result that is summed in another order."""
    rng = np.random.default_rng(0)
    x, weight = (
        rng.standard_normal((8, 300)).astype(request.param),
        rng.standard_normal((5, 300)).astype(request.param),
    )
    other_order = (x[:, ::-1].copy() @ weight[:, ::-1].T.copy()).astype(request.param)
    return Case((x, weight)), other_order


def test_another_order_of_the_sum_passes(dot_products):
    case, result = dot_products
    assert_matches(K.linear, case, result)


@pytest.mark.parametrize("mistake", [lambda y: -y, lambda y: y + 1e-4, lambda y: 0], ids=["sign", "1e-4", "zero"])
def test_a_sign_flip_or_an_error_of_1e_4_in_one_dot_product_is_caught(dot_products, mistake):
    case, result = dot_products
    result[3, 2] = mistake(result[3, 2])
    with pytest.raises(AssertionError, match=r"linear\[3, 2\] is .* off by .* allowed"):
        assert_matches(K.linear, case, result)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_where_the_reference_is_finite_is_caught(dot_products, value):
    case, result = dot_products
    result[0, 0] = value
    with pytest.raises(AssertionError, match=r"linear\[0, 0\] is (nan|inf)"):
        assert_matches(K.linear, case, result)


def test_infinities_must_have_the_sign_and_place_of_the_reference():
    case = Case((np.zeros((1, 2), np.float32), np.array([0])))
    case.arrays[0][0, 0] = -np.inf
    assert_matches(K.cross_entropy, case, np.array([np.inf], np.float32))
    for wrong in (-np.inf, np.nan, 1e30):
        with pytest.raises(AssertionError, match="expected inf"):
            assert_matches(K.cross_entropy, case, np.array([wrong], np.float32))


def test_another_shape_dtype_or_number_of_results_is_caught(dot_products):
    case, result = dot_products
    with pytest.raises(AssertionError, match="shape"):
        assert_matches(K.linear, case, result[:1])
    with pytest.raises(AssertionError, match="dtype"):
        assert_matches(K.linear, case, result.astype(np.float16))
    with pytest.raises(AssertionError, match="2 arrays"):
        assert_matches(K.linear, case, (result, result))
