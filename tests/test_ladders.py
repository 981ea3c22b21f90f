"""The rungs of the ladders are right, like any implementation, and never in the way of the kernels in use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import LARGE, cases
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernels import assert_same_bits, run, threads

import tinylm_kernels as K
from benchmarks.kernel_ladders import with_code, with_tables
from tinylm.bench import LADDERS, RUNGS, Comparison, Measurement, Roofs, lessons, load_ladders, steps
from tinylm.bench.calls import Case
from tinylm.bench.cases import size
from tinylm.bench.checking import Checks
from tinylm.bench.tolerance import assert_matches, outputs
from tinylm.errors import TinylmError

pytest.importorskip("numba")

# Numba takes seconds for each of these.
LONG = [(name, rung) for name in ("attention", "lstm") for rung in ("v2_fused", "v3_parallel")]


def each(names=LADDERS, rungs=RUNGS):
    """Rungs as pytest parameters."""
    pairs = [(name, rung) for name in names for rung in rungs]
    marked = [pytest.param(*pair, marks=pytest.mark.slow if pair in LONG else ()) for pair in pairs]
    return pytest.mark.parametrize(("name", "rung"), marked)


@pytest.fixture(scope="module", autouse=True)
def ladders():
    load_ladders(LADDERS)


@each()
@given(data=st.data())
def test_a_rung_agrees_with_the_reference(name, rung, data):
    case = data.draw(cases(name, "float32"))
    kernel = K.all_kernels()[name]
    before = case.copy()
    assert_matches(kernel, case, run(kernel, rung, case))
    for a, b in zip(case.arrays, before.arrays, strict=True):
        np.testing.assert_array_equal(a, b)


@each()
@given(data=st.data())
@settings(max_examples=3)
def test_a_rung_agrees_with_the_reference_on_arrays_of_many_tiles(name, rung, data):
    case, kernel = data.draw(cases(name, "float32", LARGE)), K.all_kernels()[name]
    assert_matches(kernel, case, run(kernel, rung, case))


@each(names=["attention"])
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.sampled_from((1, 7, 64, 65, 130))),
    cached=st.sampled_from((0, 1, 16, 63, 129)),
    widths=st.tuples(*[st.sampled_from((1, 5, 16, 33, 64))] * 2),
    causal=st.booleans(),
)
def test_the_form_of_attention_that_the_rungs_compute_themselves(name, rung, shape, cached, widths, causal):
    (B, H, T), (D, E), rng = shape, widths, np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal((B, rows, H, width), np.float32).swapaxes(1, 2)
        for rows, width in ((T, D), (T + cached, D), (T + cached, E))
    )
    case = Case((q, k, v), {"causal": causal})
    assert_matches(K.attention, case, run(K.attention, rung, case))


@each(rungs=RUNGS[-1:])
@given(data=st.data())
@settings(max_examples=4)
def test_the_last_rung_gives_the_same_bits_with_one_thread_and_two(name, rung, data):
    case, kernel, results = data.draw(cases(name, "float32", LARGE)), K.all_kernels()[name], []
    for number in (1, 2):
        with threads(number, parallel_from=0):
            results.append(run(kernel, rung, case))
    assert_same_bits(*results)


@pytest.mark.slow
@pytest.mark.parametrize("name", LADDERS)
def test_a_rung_passes_the_checks_that_come_before_its_timing(name):
    for benchmark in steps(name):
        checks = Checks(benchmark)
        assert not [complaint for complaint in map(checks.complaint, RUNGS) if complaint]
        case, kernel = benchmark.build(*benchmark.dims), K.all_kernels()[name]
        expected = outputs(run(kernel, "numba", case))
        assert not [c for c in (checks.complaint_at_full_size(rung, case, expected) for rung in RUNGS) if c]


@pytest.mark.parametrize("name", LADDERS)
def test_a_rung_says_what_it_teaches_and_is_never_chosen(name):
    assert all(len(lesson) > 40 for lesson in lessons(name).values())
    implementations = K.all_kernels()[name].implementations
    assert not any(implementations[rung].when(None) for rung in RUNGS)


@pytest.mark.slow
def test_nobody_loads_the_ladders_unless_asked():
    code = (
        "import sys, numpy, tinylm_kernels as K; K.softmax(numpy.ones((2, 3), 'f')); K.all_kernels();"
        "assert 'tinylm_kernels.ladders.softmax' not in sys.modules; assert 'v0_loops' not in K.softmax.implementations"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_kernel_without_a_ladder_is_named():
    with pytest.raises(TinylmError, match="the kernel gelu has no ladder; there is one of softmax, attention, lstm"):
        load_ladders(["softmax", "gelu"])


@pytest.fixture
def page():
    return (Path(__file__).parent.parent / "docs" / "kernels.md").read_text(encoding="utf-8")


def test_the_code_in_the_documentation_is_the_code(page):
    assert page == with_code(page), "run python benchmarks/kernel_ladders.py"


def test_the_tables_in_the_documentation_have_every_step_at_every_shape(page):
    for name in LADDERS:
        table = page.partition(f"<!-- table: {name} -->")[2].partition("<!-- end -->")[0]
        assert [part.partition("**")[0] for part in table.split("\n**")[1:]] == [size(b.dims) for b in steps(name)]
        for candidate in ("numpy", *RUNGS, "numba", "torch"):
            assert table.count(f"| `{candidate}` |") == len(steps(name))


def test_a_table_is_made_of_the_results_that_bench_writes():
    found = Comparison(steps("softmax")[0], flops=4e9, moved=8e9)
    found.measured = [Measurement(name, (seconds,)) for name, seconds in (("numpy", 8.0), ("v0_loops", 4.0))]
    about = {"processor": "P", "cores": "2", "threads": 1, "numpy": "2.4"}
    records = [{**r, **about} for r in found.records(Roofs(bandwidth=4e9, product=1e12))]
    page = "<!-- machine -->\n<!-- end -->\n<!-- table: softmax -->\nold\n<!-- end -->"
    shown = with_tables(page, [json.loads(json.dumps(record)) for record in records])
    assert "(P, 2 cores, 1 threads; numpy 2.4. Roofs: 4.0 GB/s copied, 1000 GFLOP/s in a float32 product.)" in shown
    assert "old" not in shown
    assert "| `v0_loops` | 4000.00 | 4000.00 | 1.0 | 2.0 | 50% | 1.0 | 2.0 | - |" in shown
