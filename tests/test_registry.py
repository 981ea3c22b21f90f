"""The table of kernels: which implementation runs, what others may add, and how mistakes are named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import tinylm_kernels as K
from tinylm_kernels import registry
from tinylm_kernels.registry import Kernel, all_kernels, use

ROOT = Path(__file__).parent.parent
X32, X64 = np.ones((2, 3), np.float32), np.ones((2, 3), np.float64)


@pytest.fixture
def table(monkeypatch):
    """The table of kernels, put back afterwards."""
    monkeypatch.setattr(registry, "_KERNELS", dict(registry._KERNELS))


@pytest.fixture
def double(table):
    """A kernel from outside the package: y = 2x."""

    @Kernel
    def double(x, *, out=None):
        """y = 2x."""
        return np.multiply(x, 2, out=out)

    return double


def named(kernel, name, **selection):
    """Register an implementation that returns its own name."""

    @kernel.implement(name, **selection)
    def function(x, *, out=None):
        return name


# Which one runs


def test_the_reference_runs_where_there_is_nothing_else(double):
    np.testing.assert_array_equal(double(X32), 2 * X32)
    assert list(double.implementations) == ["numpy"]


def test_the_implementation_registered_last_runs(double):
    named(double, "first")
    assert double(X32) == "first"
    named(double, "second")
    assert double(X32) == "second"


def test_an_implementation_runs_for_the_dtypes_it_names(double):
    named(double, "single", dtypes=("float32",))
    assert double(X32) == "single"
    assert double(X64).dtype == np.float64


def test_every_kernel_runs_its_reference_in_float64():
    for kernel in all_kernels().values():
        key = (None, (np.ndarray, np.dtype("float64")))
        chosen = kernel._choose(key, (X64,))
        assert chosen[0].function is kernel.reference, kernel.name
        del kernel._choices[key]


def test_when_decides_by_the_shapes_and_a_call_by_name_does_not_ask_it(double):
    named(double, "wide", when=lambda x, *, out=None: x.shape[-1] > 100)
    assert double(np.ones((1, 101))) == "wide"
    np.testing.assert_array_equal(double(X64), 2 * X64)
    assert double["wide"](X64) == "wide"


def test_use_does_not_ask_when_either(double):
    named(double, "wide", when=lambda x, *, out=None: x.shape[-1] > 100)
    with use("wide"):
        assert double(X64) == "wide"


def test_integers_and_masks_have_no_say_in_the_choice(table):
    @Kernel
    def pick(x, ids, mask=None):
        return "numpy"

    @pick.implement("single", dtypes=("float32",))
    def pick_single(x, ids, mask=None):
        return "single"

    assert pick(X32, np.array([1])) == "single"
    assert pick(X32, np.array([1], np.int32), np.array([True])) == "single"
    assert pick(X32, np.array([1]), None) == "single"
    assert pick(X64, np.array([1])) == "numpy"


# use()


def test_use_forces_one_within_its_block(double):
    named(double, "fast")
    with use("numpy"):
        assert double(X32)[0, 0] == 2
        with use("fast"):
            assert double(X32) == "fast"
        assert double(X32)[0, 0] == 2
    assert double(X32) == "fast"


def test_use_leaves_kernels_without_such_an_implementation_alone(double):
    named(double, "fast")
    with use("fast"):
        assert K.gelu(X64).shape == X64.shape


def test_use_ends_with_an_exception_too(double):
    named(double, "fast")
    with pytest.raises(ZeroDivisionError), use("numpy"):
        raise ZeroDivisionError
    assert double(X32) == "fast"


def test_use_holds_for_its_own_thread(double):
    named(double, "fast")
    seen = []
    with use("numpy"):
        thread = threading.Thread(target=lambda: seen.append(double(X32)))
        thread.start()
        thread.join()
    assert seen == ["fast"]


def test_use_of_an_unknown_name_lists_the_known_ones(double):
    named(double, "fast")
    with pytest.raises(ValueError, match=r"no kernel has an implementation 'slow'; there are \[.*'fast'.*'numpy'"):
        use("slow").__enter__()


def test_use_refuses_arrays_that_the_forced_one_does_not_take(double):
    named(double, "single", dtypes=("float32",))
    with (
        use("single"),
        pytest.raises(TypeError, match=r"\['float64'\] on cpu; there is single \(cpu, float32\)"),
    ):
        double(X64)


# By name


def test_a_call_by_name_runs_that_one_behind_the_checks(double):
    named(double, "single", dtypes=("float32",))

    @double.check
    def _(x, *, out=None):
        if x.ndim != 2:
            raise ValueError("double: x is not a matrix")

    assert double["single"](X32) == "single"
    assert double["numpy"](X32)[0, 0] == 2
    with pytest.raises(ValueError, match="not a matrix"):
        double["single"](X32[0])
    with pytest.raises(TypeError, match="float64"):
        double["single"](X64)


def test_an_unknown_name_lists_the_known_ones(double):
    with pytest.raises(KeyError, match=r"kernel double has no implementation 'fast'; it has \['numpy'\]"):
        double["fast"]


# Registering


def test_a_kernel_from_outside_is_in_the_table(double):
    assert all_kernels()["double"] is double
    assert list(all_kernels()) == sorted(all_kernels())
    assert double.__doc__ == "y = 2x."
    assert repr(double) == "<kernel double: numpy>"


def test_an_implementation_from_outside_joins_a_kernel_of_the_package(monkeypatch):
    monkeypatch.setattr(K.softmax, "_implementations", dict(K.softmax.implementations))
    monkeypatch.setattr(K.softmax, "_choices", {})
    named(K.softmax, "outside", dtypes=("float32",))
    assert K.softmax(X32) == "outside"
    with pytest.raises(ValueError, match="softmax: out has shape"):
        K.softmax(X32, out=X32[0])


def test_a_second_kernel_or_implementation_of_one_name_is_refused(double):
    with pytest.raises(ValueError, match=r"a kernel named 'double' exists already, in .*test_registry"):
        Kernel(double.reference)
    with pytest.raises(ValueError, match="double already has an implementation named 'numpy'"):
        named(double, "numpy")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x, out=None: x,
        lambda x, *, out=0: x,
        lambda y, *, out=None: y,
        lambda x, *, out=None, fast=True: x,
    ],
    ids=["missing", "positional", "default", "renamed", "more"],
)
def test_an_implementation_with_another_signature_is_refused(double, function):
    with pytest.raises(ValueError, match=r"double\['other'\] must be called as \(x, \*, out=None\), not as"):
        double.implement("other")(function)


# Arguments that no kernel takes


def test_mixed_dtypes_are_refused():
    with pytest.raises(TypeError, match=r"gelu_backward: .* mix the dtypes \['float32', 'float64'\]; convert"):
        K.gelu_backward(X32, X64)


def test_arrays_on_different_devices_are_refused(monkeypatch):
    monkeypatch.setattr(registry, "device_of", lambda array: "gpu" if array is elsewhere else "cpu")
    elsewhere = np.ones((2, 3), np.float16)  # a kind of array that no other test has put into the table
    with pytest.raises(TypeError, match=r"softmax_backward: .* different devices: \['cpu', 'gpu'\]"):
        K.softmax_backward(np.ones((2, 3), np.float16), elsewhere)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], 3.0, "text"])
def test_what_is_no_array_is_refused(wrong):
    with pytest.raises(TypeError, match=f"softmax expects arrays, received \\({type(wrong).__name__}\\)"):
        K.softmax(wrong)


@pytest.mark.parametrize("call", [lambda: K.softmax(np.arange(3)), lambda: K.gelu(x=X32)], ids=["int", "keyword"])
def test_a_call_without_floating_arrays_by_position_is_refused(call):
    with pytest.raises(TypeError, match=r"expects floating arrays, by position; received"):
        call()


# Without Numba


def run_python(code, **options):
    """The output and the errors of a fresh interpreter in which `import numba` fails."""
    blocked = "import sys; sys.modules['numba'] = None\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", blocked],
        cwd=ROOT / "kernels", capture_output=True, text=True, timeout=120, **options,
    )  # fmt: skip


def test_without_numba_every_kernel_runs_its_reference_and_one_line_says_so():
    result = run_python(
        """
        import numpy as np, tinylm_kernels as K
        sys.path.insert(0, "../tests")
        for name, kernel in K.all_kernels().items():
            assert set(kernel.implementations) <= {"numpy", "cuda"}, kernel
        x = np.ones((2, 3), np.float32)
        assert K.softmax(x).sum() == 2 and K.gelu(x).shape == (2, 3)
        with K.use("numpy"):
            K.linear(x, x)
        """
    )
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert "Numba is not installed" in lines[0]
    assert 'pip install "tinylm[fast]"' in lines[0]


def test_importing_the_package_loads_neither_numba_nor_an_implementation():
    result = run_python(
        """
        import tinylm_kernels
        for module in sys.modules:
            assert not module.startswith(("llvmlite", "cupy")), module
            assert not module.endswith((".cpu", ".gpu", ".jit")), module
        """
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr


def test_an_implementation_module_that_fails_to_import_says_so_at_every_call(double, monkeypatch):
    def fail(device):
        raise ImportError(f"broken: {device}")

    monkeypatch.setattr(double, "_import_sibling", fail)
    for _ in range(2):
        with pytest.raises(ImportError, match="broken"):
            double(X32)
