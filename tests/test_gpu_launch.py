"""The arguments of a launch: what CuPy would hand on unseen is refused with its name."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tinylm_kernels.cuda import Program
from tinylm_kernels.cuda.program import LaunchError
from tinylm_kernels.cuda.source import parse_source, read_source
from tinylm_kernels.emulator.stand_in import emulated_gpu

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
TEXT = """
// extern "C" __global__ void comment(float* x) {}
extern "C" __global__ void __launch_bounds__(64) scale(const float* __restrict__ x, float* y, int n, float by) {
    if (threadIdx.x < n) y[threadIdx.x] = by * (x ? x[threadIdx.x] : 1.0f);
}
extern "C" __global__ void many(unsigned char* at, unsigned long long n, T* t) {}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "scale.cu").write_text('#define T float\n#include "more.cuh"\n' + TEXT)
    (folder / "more.cuh").write_text("#pragma once\nconstexpr int more = 1;\n")
    return Program(folder / "scale.py", "scale.cu")


@pytest.fixture
def cupy():
    with emulated_gpu():
        import cupy

        yield cupy


def launch(program, cupy, **changes):
    given = {"x": cupy.arange(4).astype("float32"), "y": cupy.empty(4, "float32"), "n": 4, "by": 2.0} | changes
    program.launch("scale", 1, 64, *given.values())
    return given["y"].get()


def test_a_launch_runs_the_kernel_with_a_python_number_in_the_type_that_it_declares(program, cupy):
    np.testing.assert_array_equal(launch(program, cupy), [0, 2, 4, 6])


def test_none_is_a_null_pointer(program, cupy):
    np.testing.assert_array_equal(launch(program, cupy, x=None), [2, 2, 2, 2])


def test_an_empty_grid_is_nothing_to_do(program, cupy):
    program.launch("scale", 0, 64, cupy.empty(0, "float32"), cupy.empty(0, "float32"), 0, 1.0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"x": lambda c: np.arange(4, dtype="float32")},
            TypeError,
            "scale: x is a ndarray, expected an array on the card",
        ),
        ({"x": lambda c: c.arange(4)}, TypeError, "scale: x holds int64, expected float32"),
        ({"x": lambda c: c.zeros((4, 2), "float32")[:, 0]}, ValueError, r"scale: x has strides \(8,\) .* C-contiguous"),
        ({"n": lambda c: 2**31}, ValueError, "scale: n is 2147483648, which a int32 does not hold"),
        ({"n": lambda c: 0.5}, ValueError, "scale: n is 0.5, which a int32 does not hold"),
        ({"by": lambda c: c.zeros(())}, TypeError, "scale: by is an array on the card, expected a number"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(program, cupy, changes, error, message):
    with pytest.raises(error, match=message):
        launch(program, cupy, **{name: make(cupy) for name, make in changes.items()})


@pytest.mark.parametrize(("grid", "block"), [(1, 2048), (1, 0), ((1, 70000), 32)])
def test_a_grid_or_block_that_no_card_has_is_refused(program, cupy, grid, block):
    with pytest.raises(ValueError, match="scale: "):
        program.launch("scale", grid, block, cupy.empty(4, "float32"), cupy.empty(4, "float32"), 4, 1.0)


def test_a_launch_that_the_card_refuses_names_kernel_grid_and_arguments(program, cupy, monkeypatch):
    def refuse(self, *_, **__):
        raise cupy.cuda.driver.CUDADriverError("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")

    monkeypatch.setattr("tinylm_kernels.emulator.stand_in._Function.__call__", refuse)
    expected = (
        r"scale did not start: CUDA_ERROR_LAUNCH.*grid \(1, 1, 1\), block \(64, 1, 1\).*float32\(4,\), .*, 4, 2.0"
    )
    with pytest.raises(LaunchError, match=expected):
        launch(program, cupy)


def test_signatures_are_read_from_the_text_and_not_from_comments(program):
    kernels = program.source.kernels
    assert list(kernels) == ["scale", "many"]
    assert [(p.name, p.type, p.pointer, p.const) for p in kernels["scale"].parameters] == [
        ("x", "float", True, True),
        ("y", "float", True, False),
        ("n", "int", False, False),
        ("by", "float", False, False),
    ]
    assert [p.type for p in kernels["many"].parameters] == ["unsigned char", "unsigned long long", "T"]


def test_a_file_is_one_text_with_what_it_includes_and_the_lines_that_it_had(program):
    text = read_source(program.path).text
    assert "constexpr int more = 1;" in text
    assert "#include" not in text
    assert "#pragma once" not in text


def test_a_parameter_that_cannot_be_read_is_named():
    with pytest.raises(ValueError, match="cannot read the parameter 'std::Pair x' of the kernel f"):
        parse_source("test", 'extern "C" __global__ void f(std::Pair x) {}')


def test_the_stand_in_refuses_what_cupy_refuses(cupy):
    on_card = cupy.arange(3)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(on_card)
    with pytest.raises(TypeError, match="Unsupported type"):
        on_card + np.arange(3)
    with pytest.raises(TypeError, match="Unsupported type"):
        cupy.add(on_card, np.arange(3))
    with pytest.raises(AttributeError):
        _ = cupy.lexsort
    assert float(cupy.sum(on_card)) == 3
