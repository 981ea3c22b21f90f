"""The CUDA kernels on the emulator against their NumPy references, by the cases of the CPU, on a stand-in for CuPy."""

from __future__ import annotations

import inspect
import shutil

import pytest
from cases import LARGE, cases, laid_out, layouts
from hypothesis import given, settings
from hypothesis import strategies as st

import tinylm_kernels as K
from tinylm.bench.calls import RECEIVED_BY_OUT, Case
from tinylm.bench.tolerance import assert_matches, outputs
from tinylm_kernels.emulator.stand_in import emulated_gpu

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
ON_CARD = [kernel for kernel in K.all_kernels().values() if "cuda" in kernel.implementations]
WITH_OUT = [kernel for kernel in ON_CARD if "out" in inspect.signature(kernel.reference).parameters]
every = pytest.mark.parametrize("kernel", ON_CARD, ids=lambda kernel: kernel.name)


@pytest.fixture(scope="module", autouse=True)
def card():
    with emulated_gpu() as card:
        yield card


def on_card(case: Case) -> Case:
    import cupy

    return case.map(cupy.asarray)


def to_host(result):
    if isinstance(result, tuple):
        return tuple(map(to_host, result))
    return result if isinstance(result, float) else result.get()


def run(kernel, case):
    there = on_card(case)
    return to_host(kernel["cuda"](*there.arrays, **there.settings))


@every
@given(data=st.data(), order=st.sampled_from([0, 1, 7]))
def test_a_cuda_kernel_agrees_with_the_reference_in_any_order_of_threads(kernel, card, data, order):
    case = data.draw(cases(kernel.name, "float32"))
    card.order = order
    assert_matches(kernel, case.copy(), run(kernel, case))


@pytest.mark.slow
@every
@given(data=st.data())
@settings(max_examples=2)
def test_a_cuda_kernel_agrees_with_the_reference_on_arrays_of_many_blocks(kernel, data):
    case = data.draw(cases(kernel.name, "float32", LARGE))
    assert_matches(kernel, case.copy(), run(kernel, case))


@every
@given(data=st.data())
@settings(max_examples=5)
def test_a_cuda_kernel_agrees_with_the_reference_in_half_precision(kernel, data):
    case = data.draw(cases(kernel.name, "float16", tame=True))
    assert_matches(kernel, case.copy(), run(kernel, case))


@pytest.mark.parametrize("kernel", WITH_OUT, ids=lambda kernel: kernel.name)
@given(data=st.data())
@settings(max_examples=5)
def test_out_receives_the_result_in_any_layout(kernel, data):
    case = data.draw(cases(kernel.name, "float32"))
    received = RECEIVED_BY_OUT.get(kernel.name, (0,))
    shapes = [outputs(kernel.reference(*case.arrays, **case.settings))[i].shape for i in received]
    layout = data.draw(st.sampled_from(layouts(min(shapes, key=len))))
    there, out = on_card(case), on_card(Case(tuple(laid_out(shape, "float32", layout) for shape in shapes))).arrays
    result = kernel["cuda"](*there.arrays, **there.settings, out=out if len(out) > 1 else out[0])
    for i, buffer in zip(received, out, strict=True):
        assert (result[i] if isinstance(result, tuple) else result) is buffer
    assert_matches(kernel, case.copy(), to_host(result))
