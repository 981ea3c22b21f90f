"""Every kernel, in every implementation and dtype, against its NumPy reference: the registry says which."""

from __future__ import annotations

import inspect
from contextlib import contextmanager

import numpy as np
import pytest
from cases import LARGE, cases, laid_out, layouts, variants
from hypothesis import given, settings
from hypothesis import strategies as st

import tinylm_kernels as K
from tinylm.bench.calls import RECEIVED_BY_OUT
from tinylm.bench.tolerance import assert_close, assert_matches, outputs

everything = pytest.mark.parametrize(("kernel", "name", "dtype"), variants())
compiled = pytest.mark.parametrize(("kernel", "name", "dtype"), [v for v in variants() if v.values[1] != "numpy"])
IN_PLACE = (K.adamw, K.cross_entropy_with_gradient, K.linear)


def having(setting):
    """Every implementation of the kernels that have this setting."""
    kernels = [k for k in K.all_kernels().values() if setting in inspect.signature(k.reference).parameters]
    return pytest.mark.parametrize(("kernel", "name", "dtype"), variants(*kernels))


def run(kernel, name, case, **settings):
    return kernel[name](*case.arrays, **case.settings, **settings)


def assert_same_bits(received, expected):
    for r, e in zip(outputs(received), outputs(expected), strict=True):
        np.testing.assert_array_equal(r, e)


@pytest.mark.parametrize("name", K.all_kernels())
def test_every_kernel_has_a_case(name):
    cases(name, "float32")


@everything
@given(data=st.data())
@settings(max_examples=2 * settings.default.max_examples)
def test_an_implementation_agrees_with_the_reference(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    before = case.copy()
    result = run(kernel, name, case)
    assert_matches(kernel, case, result)
    for name, a, b in zip(inspect.signature(kernel.reference).parameters, case.arrays, before.arrays, strict=False):
        np.testing.assert_array_equal(a, b, err_msg=f"{kernel.name} wrote to its argument {name}")


@compiled
@given(data=st.data())
@settings(max_examples=3)
def test_an_implementation_agrees_with_the_reference_on_arrays_of_many_tiles(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype, LARGE))
    assert_matches(kernel, case, run(kernel, name, case))


@having("out")
@given(data=st.data())
def test_out_receives_the_result_and_is_returned(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    plain = run(kernel, name, case)
    received = RECEIVED_BY_OUT.get(kernel.name, (0,))
    shapes = [outputs(plain)[i].shape for i in received]
    layout = data.draw(st.sampled_from(layouts(min(shapes, key=len))))
    out = tuple(laid_out(shape, dtype, layout) for shape in shapes)
    result = run(kernel, name, case, out=out if len(out) > 1 else out[0])
    for i, buffer in zip(received, out, strict=True):
        assert (result[i] if isinstance(result, tuple) else result) is buffer
    assert_matches(kernel, case, result)


@having("accumulate")
@given(data=st.data())
def test_accumulate_adds_to_what_out_holds(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    start = np.random.default_rng(0).standard_normal(outputs(run(kernel, name, case))[0].shape).astype(dtype)
    out = start.copy()
    result = run(kernel, name, case, out=out, accumulate=True)
    assert result is out

    def accumulated(*arrays, **settings):
        return start + kernel.reference(*arrays, **settings)

    assert_close(result, accumulated, case, kernel.name)


@pytest.mark.parametrize(("kernel", "name", "dtype"), variants(*IN_PLACE))
@given(data=st.data())
def test_a_kernel_that_declares_it_works_in_place(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    arrays = case.copy().arrays
    out = {"adamw": (arrays[0], *arrays[2:]), "linear": arrays[-1]}.get(kernel.name, arrays[0])
    assert_matches(kernel, case, kernel[name](*arrays, **case.settings, out=out))


@contextmanager
def threads(number, parallel_from):
    """Numba on this many threads, its parallel kernels from this much work on."""
    numba = pytest.importorskip("numba")
    from tinylm_kernels import jit

    before, number_before = jit.PARALLEL_FROM, numba.get_num_threads()
    jit.PARALLEL_FROM = parallel_from
    numba.set_num_threads(number)
    try:
        yield
    finally:
        jit.PARALLEL_FROM = before
        numba.set_num_threads(number_before)


@compiled
@given(data=st.data())
@settings(max_examples=8)
def test_one_and_two_threads_give_the_same_bits(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype, data.draw(st.sampled_from((LARGE, (1, 3, 16, 65))))))
    with threads(1, parallel_from=0):
        serial = run(kernel, name, case)
    with threads(2, parallel_from=0):
        parallel = run(kernel, name, case)
    with threads(2, parallel_from=1 << 62):
        below_the_threshold = run(kernel, name, case)
    assert_same_bits(parallel, serial)
    assert_same_bits(below_the_threshold, serial)


@pytest.mark.slow
@everything
@given(data=st.data())
@settings(max_examples=3)
def test_an_implementation_takes_read_only_arrays(kernel, name, dtype, data):
    case = data.draw(cases(kernel.name, dtype))
    for a in case.arrays:
        if a is not None:
            a.flags.writeable = False
    assert_matches(kernel, case, run(kernel, name, case))
