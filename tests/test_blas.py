"""Matrix products by the threads of the kernels: right, and the same bits whatever their number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

import numba

from tinylm_kernels import blas

THREADS = (1, 2, 3, 4, 7, 8, 16, 61)

needs_openblas = pytest.mark.skipif(blas._openblas is None, reason="NumPy has another BLAS than OpenBLAS")


LAYOUTS = {
    "rows": np.ascontiguousarray,
    "columns": lambda x: np.ascontiguousarray(x.T).T,
    "wide rows": lambda x: np.pad(x, ((0, 0), (2, 3)))[:, 2:-3],
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}
layouts = st.sampled_from(sorted(LAYOUTS))
sizes = st.sampled_from((1, 2, 3, 7, 8, 16, 23, 24, 25, 47, 64, 65, 96, 130, 255, 256, 257, 400, 1031))


def product_in(threads, monkeypatch, a, b, out, *, accumulate):
    """The product, in parts as for this many threads."""
    with monkeypatch.context() as patch:
        patch.setattr(numba, "get_num_threads", lambda: threads)
        return blas.matmul(a, b, out.copy(), accumulate=accumulate)


def assert_the_same_bits_in_any_number_of_threads(monkeypatch, rng, M, N, K, layout_a, layout_b, accumulate):
    a = LAYOUTS[layout_a](rng.standard_normal((M, K), np.float32))
    b = LAYOUTS[layout_b](rng.standard_normal((K, N), np.float32))
    out = rng.standard_normal((M, N), np.float32)
    cuts = {blas.cut(M, N, K, threads): threads for threads in THREADS}
    first, *others = (product_in(t, monkeypatch, a, b, out, accumulate=accumulate) for t in cuts.values())
    for cut, result in zip(list(cuts)[1:], others, strict=True):
        np.testing.assert_array_equal(result, first, err_msg=f"{M} x {K} x {N}, {cut} parts")


def random_size(rng, most):
    """From 1 to `most`, small ones as often as large ones."""
    return int(2 ** rng.uniform(0, np.log2(most)))


@needs_openblas
@pytest.mark.parametrize("seed", range(4))
def test_products_of_random_sizes_have_the_same_bits_in_any_number_of_threads(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    for _ in range(100):
        size = M, N, K = random_size(rng, 2000), random_size(rng, 1000), random_size(rng, 1000)
        if blas.SMALL < M * N * K < 1 << 26:
            stored = rng.choice(sorted(LAYOUTS), 2)
            assert_the_same_bits_in_any_number_of_threads(monkeypatch, rng, *size, *stored, bool(rng.integers(2)))


@needs_openblas
@given(M=sizes, N=sizes, K=sizes, layout_a=layouts, layout_b=layouts, accumulate=st.booleans(), seed=st.integers(0, 99))
@settings(suppress_health_check=[*settings.default.suppress_health_check, HealthCheck.function_scoped_fixture])
def test_products_of_sizes_around_steps_have_the_same_bits_in_any_number_of_threads(
    monkeypatch, M, N, K, layout_a, layout_b, accumulate, seed
):
    rng = np.random.default_rng(seed)
    assert_the_same_bits_in_any_number_of_threads(monkeypatch, rng, M, N, K, layout_a, layout_b, accumulate)


@needs_openblas
def test_large_products_of_many_rows_are_cut_for_every_thread():
    assert [blas.cut(4096, 1536, 384, threads) for threads in (1, 2, 8, 64)] == [(1, 1), (2, 1), (8, 1), (64, 1)]
    assert blas.cut(64, 3072, 768, 1) == blas.cut(64, 3072, 768, 64) == (1, blas.COLUMN_PARTS[0])


@given(M=sizes, N=sizes, K=sizes, layout_a=layouts, layout_b=layouts)
def test_a_product_is_that_of_float64_whatever_lay_in_its_memory(M, N, K, layout_a, layout_b):
    rng = np.random.default_rng(0)
    a = LAYOUTS[layout_a](rng.standard_normal((M, K), np.float32))
    b = LAYOUTS[layout_b](rng.standard_normal((K, N), np.float32))
    truth, last_place = a.astype(np.float64) @ b, np.finfo(np.float32).eps * np.sqrt(K)
    out = np.full((M, N), np.nan, np.float32)
    assert blas.matmul(a, b, out) is out
    np.testing.assert_allclose(out, truth, rtol=0, atol=4 * last_place * np.sqrt(K))
    blas.matmul(a, b, out, accumulate=True)
    np.testing.assert_allclose(out, 2 * truth, rtol=0, atol=8 * last_place * np.sqrt(K))
