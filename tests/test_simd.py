"""The vector functions of the Numba kernels against float64, over the whole range and at special values."""

import numpy as np
import pytest

pytest.importorskip("numba")

from tinylm_kernels import simd
from tinylm_kernels.jit import jit

# All float32 from the smallest subnormal to infinity, thinned by a stride coprime to 2 so that exponents and
# mantissas mix, in both signs, and then NaN.
EVERYWHERE = np.arange(0, 0x7F800001, 1021, dtype=np.uint32).view(np.float32)
EVERYWHERE = np.concatenate([EVERYWHERE, -EVERYWHERE])
LOWEST, HIGHEST = np.log(2.0**-126), np.log(float(np.finfo(np.float32).max))
NAN, INF = np.float32(np.nan), np.float32(np.inf)


@jit
def exp_of(x, y):
    for i in range(len(x)):
        y[i] = simd.exp(x[i])


@jit
def sigmoid_of(x, y):
    for i in range(len(x)):
        y[i] = simd.sigmoid(x[i])


@jit
def tanh_of(x, y):
    for i in range(len(x)):
        y[i] = simd.tanh(x[i])


@jit
def maximum_of(x, start):
    peak = start
    for i in range(len(x)):
        peak = simd.maximum(peak, x[i])
    return peak


@jit
def minimum_of(x, start):
    least = start
    for i in range(len(x)):
        least = simd.minimum(least, x[i])
    return least


@jit
def integers(a, b, results):
    results[0] = simd.add_i32(a, b)
    results[1] = simd.mul_i32(a, b)
    results[2] = simd.shl_i32(a, b)
    results[3] = simd.bits_of(simd.float_of(a))


def apply(function, x):
    y = np.empty_like(x)
    function(x, y)
    return y


def ulps(received, expected):
    """The largest distance in units of the last place; a subnormal counts in those of the smallest normal."""
    smallest = np.float32(2.0**-126)
    unit = np.spacing(np.maximum(np.abs(expected), smallest).astype(np.float32)).astype(np.float64)
    return np.max(np.abs(received - expected) / unit)


def exact_sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def test_exp_is_within_one_ulp_wherever_the_result_is_a_normal_number():
    x = np.concatenate([np.linspace(-87.33654, 88.72283, 1_000_001, dtype=np.float32), EVERYWHERE])
    x = x[(x >= LOWEST) & (x <= HIGHEST)]
    assert ulps(apply(exp_of, x), np.exp(x.astype(np.float64))) < 1


def test_exp_is_zero_below_and_infinite_above_that_range():
    wide = EVERYWHERE.astype(np.float64)
    assert not apply(exp_of, EVERYWHERE[wide < LOWEST]).any()
    assert np.isinf(apply(exp_of, EVERYWHERE[wide > HIGHEST])).all()


def test_tanh_is_accurate_relative_to_its_result_also_near_zero():
    assert ulps(apply(tanh_of, EVERYWHERE), np.tanh(EVERYWHERE.astype(np.float64))) < 3


def test_sigmoid_is_accurate_relative_to_its_result_also_where_it_is_tiny():
    x = np.concatenate([np.linspace(-87, 20, 1_000_001, dtype=np.float32), EVERYWHERE[EVERYWHERE > -87]])
    assert ulps(apply(sigmoid_of, x), exact_sigmoid(x.astype(np.float64))) < 3
    assert np.all(apply(sigmoid_of, EVERYWHERE[EVERYWHERE <= -87]) < 2e-38)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (exp_of, [0, 1, 1, INF, NAN, NAN]),
        (sigmoid_of, [0, 0.5, 0.5, 1, NAN, NAN]),
        (tanh_of, [-1, 0, 0, 1, NAN, NAN]),
    ],
)
@pytest.mark.parametrize("times", [1, 40])  # the scalar rest of a loop and its vector body
def test_special_values(function, expected, times):
    nan_with_payload = np.uint32(0xFFC12345).view(np.float32)
    x = np.array([-INF, -0.0, 0.0, INF, NAN, nan_with_payload] * times, np.float32)
    np.testing.assert_array_equal(apply(function, x), np.array(expected * times, np.float32))


@pytest.mark.parametrize("size", [1, 5, 16, 100, 1000])
def test_maximum_and_minimum_see_every_element_and_keep_nan(size):
    x = np.random.default_rng(size).standard_normal(size, dtype=np.float32)
    assert maximum_of(x, -INF) == x.max()
    assert minimum_of(x, INF) == x.min()
    for place in {0, size // 2, size - 1}:
        broken = x.copy()
        broken[place] = NAN
        assert np.isnan(maximum_of(broken, -INF))
        assert np.isnan(minimum_of(broken, INF))


def test_integers_wrap_in_32_bits():
    results = np.empty(4, np.int32)
    integers(np.int32(2**31 - 1), np.int32(3), results)
    assert results.tolist() == [-(2**31) + 2, 2**31 - 3, -8, 2**31 - 1]
