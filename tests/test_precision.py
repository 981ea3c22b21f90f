"""Training in bfloat16: the rounding, the product, which layers use it, and runs in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from cases import LARGE, SMALL, cases
from hypothesis import given
from hypothesis import strategies as st

import tinylm
import tinylm_kernels as K
from tinylm.bench.tolerance import assert_close
from tinylm.errors import TinylmError
from tinylm.formats import read_safetensors
from tinylm.tasks import building
from tinylm_kernels.matmul_bfloat16.reference import round_to_bfloat16
from tinylm_kernels.precision import current_precision

fast = pytest.mark.skipif(K.why_not_bfloat16() is not None, reason=f"bfloat16: {K.why_not_bfloat16()}")

# float32 of all exponents, subnormal ones too, with fractions around the ties of the rounding; infinity and NaN.
FRACTIONS = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0x17FFF, 0x18000, 0x18001, 0x7F7FFF, 0x7F8000], np.uint32)
EVERYWHERE = (np.arange(255, dtype=np.uint32)[:, None] << 23 | FRACTIONS).reshape(-1).view(np.float32)
EVERYWHERE = np.concatenate([EVERYWHERE, -EVERYWHERE, np.array([np.inf, -np.inf, np.nan], np.float32)])


def test_rounding_takes_the_nearest_number_with_eight_bits_and_the_even_one_of_two():
    x = EVERYWHERE[np.isfinite(EVERYWHERE) & (abs(EVERYWHERE) >= 2**-126)].astype(np.float64)
    unit = 2.0 ** (np.floor(np.log2(abs(x))) - 7)
    expected = np.rint(x / unit) * unit  # ties to even
    expected = np.where(abs(expected) >= 2.0**128, np.copysign(np.inf, x), expected)
    np.testing.assert_array_equal(round_to_bfloat16(x), expected)


def test_rounding_keeps_infinity_and_nan_and_makes_subnormal_numbers_zero():
    np.testing.assert_array_equal(round_to_bfloat16(np.array([np.inf, -np.inf, np.nan])), [np.inf, -np.inf, np.nan])
    assert not round_to_bfloat16(np.array([1e-40, -1.1e-38], np.float32)).any()


@fast
@pytest.mark.parametrize("count", [1, 16, 40])
def test_the_product_rounds_as_the_reference_does_along_rows_and_across_them(count):
    one, x = np.ones((1, count), np.float32), EVERYWHERE[:, None]
    for product in (K.matmul_bfloat16["numba"](x, one), K.matmul_bfloat16["numba"](one.T, x.T).T):
        np.testing.assert_array_equal(product, np.broadcast_to(round_to_bfloat16(x), product.shape))


@fast
@given(data=st.data())
def test_infinity_and_nan_stand_where_the_reference_has_them(data):
    case = data.draw(cases("matmul_bfloat16", "float32", (1, 3, 17, 40)))
    for x in case.arrays[:2]:
        if x.size:
            where = data.draw(st.integers(0, x.shape[0] - 1)), data.draw(st.integers(0, x.shape[1] - 1))
            x[where] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))
    with np.errstate(invalid="ignore"):
        received, expected = (K.matmul_bfloat16[name](*case.arrays) for name in ("numba", "numpy"))
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(received), kind(expected))


@fast
@pytest.mark.parametrize("shape", [(15, 5000, 33), (1, 1025, 1), (600, 3, 700)])
def test_many_terms_and_several_blocks_of_them(shape):
    M, k, N = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, k), np.float32), rng.standard_normal((N, k), np.float32).T
    exact = K.matmul_bfloat16["numpy"](a.astype(np.float64), b.astype(np.float64))
    assert abs(K.matmul_bfloat16["numba"](a, b) - exact).max() < 1e-6 * k**0.5 * abs(exact).max()


def rounded_linear(x, weight, *added):
    return K.linear.reference(round_to_bfloat16(x), round_to_bfloat16(weight), *added)


def rounded_backward_input(dy, weight):
    return K.linear_backward_input.reference(round_to_bfloat16(dy), round_to_bfloat16(weight))


def rounded_backward_weight(dy, x):
    return K.linear_backward_weight.reference(round_to_bfloat16(dy), round_to_bfloat16(x))


ROUNDED = {
    K.linear: rounded_linear,
    K.linear_backward_input: rounded_backward_input,
    K.linear_backward_weight: rounded_backward_weight,
}


@pytest.mark.parametrize("kernel", ROUNDED, ids=lambda kernel: kernel.name)
@given(data=st.data())
def test_within_the_block_linear_is_that_of_rounded_operands(kernel, data):
    pytest.importorskip("numba")
    case = data.draw(cases(kernel.name, "float32", data.draw(st.sampled_from([SMALL, LARGE]))))
    with K.precision("bfloat16"):
        assert_close(kernel(*case.arrays), ROUNDED[kernel], case)


@given(data=st.data())
def test_a_weight_gradient_is_added_to_what_out_holds(data):
    pytest.importorskip("numba")
    case = data.draw(cases("linear_backward_weight", "float32"))
    start = np.ones((case.arrays[0].shape[-1], case.arrays[1].shape[-1]), np.float32)
    out = start.copy()
    with K.precision("bfloat16"):
        assert K.linear_backward_weight(*case.arrays, out=out, accumulate=True) is out
    assert_close(out, lambda dy, x: start + rounded_backward_weight(dy, x), case)


def test_the_loss_in_chunks_multiplies_in_bfloat16_too():
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((40, 24), np.float32), rng.standard_normal((50, 24), np.float32)
    targets = rng.integers(0, 50, 40)
    with K.precision("bfloat16"):
        losses, dx, dweight = K.linear_cross_entropy_with_gradients(x, weight, targets, rows=16)
    expected, dlogits = K.cross_entropy_with_gradient.reference(rounded_linear(x, weight), targets)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(dx, rounded_backward_input(dlogits, weight), atol=1e-2)  # a dlogit may round elsewhere
    np.testing.assert_allclose(dweight, rounded_backward_weight(dlogits, x), atol=1e-2)


def test_the_precision_is_that_of_the_innermost_block_and_of_this_thread_alone():
    seen = []
    with K.precision("bfloat16"):
        with K.precision("float32"):
            seen.append(current_precision())
        seen.append(current_precision())
        thread = threading.Thread(target=lambda: seen.append(current_precision()))
        thread.start()
        thread.join()
    assert [*seen, current_precision()] == ["float32", "bfloat16", "float32", "float32"]
    with pytest.raises(ValueError, match="no precision 'float16'; there are float32, bfloat16"), K.precision("float16"):
        pass


def test_float64_stays_exact_within_the_block():
    x = np.random.default_rng(0).standard_normal((5, 7))
    with K.precision("bfloat16"):
        np.testing.assert_array_equal(K.linear(x, x), x @ x.T)


# Runs.

SMALL_RUN = {"layers": 1, "heads": 2, "width": 32, "context": 16, "batch_size": 4, "steps": 6, "checkpoint_every": 3}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 60, encoding="utf-8")
    return file


def run(text: Path, out: Path, **settings):
    said: list[str] = []
    trained = tinylm.train(text, out=out, notify=said.append, **{**SMALL_RUN, **settings})
    return trained, "\n".join(said)


def weights(trained) -> dict[str, np.ndarray]:
    return read_safetensors(trained.best / "model.safetensors")


@fast
def test_a_run_in_bfloat16_says_so_differs_from_float32_and_is_measured_in_float32(text: Path, tmp_path: Path):
    precisions: list[str] = []
    trained, said = run(text, tmp_path / "run", precision="bfloat16")
    assert "precision: bfloat16 for the matrix products of training" in said
    assert trained.trainer.precision == "bfloat16"
    plain, said = run(text, tmp_path / "plain")
    assert "precision" not in said
    assert any(not np.array_equal(a, weights(plain)[name]) for name, a in weights(trained).items())
    trained.trainer.task.evaluate = lambda model: precisions.append(current_precision()) or {}
    trained.trainer.evaluate()
    assert precisions == ["float32"]


@fast
def test_a_run_in_bfloat16_that_is_stopped_and_resumed_gives_the_same_bits(text: Path, tmp_path: Path):
    whole, _ = run(text, tmp_path / "whole", precision="bfloat16")
    stop = [lambda trainer, result: trainer.stop("enough") if result.step == 3 else None]
    run(text, tmp_path / "parts", precision="bfloat16", callbacks=stop)
    parts = tinylm.train(resume=tmp_path / "parts")
    assert parts.trainer.precision == "bfloat16"
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, parts.model.state_dict()[name])


def test_where_bfloat16_is_no_gain_a_run_says_why_and_trains_in_float32(text: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(building, "why_not_bfloat16", lambda: "the reason")
    trained, said = run(text, tmp_path / "run", precision="bfloat16", steps=1)
    assert "precision: float32, since bfloat16 is no gain here: the reason" in said
    assert trained.trainer.precision == "float32"


def test_an_unknown_precision_is_refused(text: Path, tmp_path: Path):
    with pytest.raises(TinylmError, match=r"precision is 'bfloat8'.*bfloat16"):
        run(text, tmp_path / "run", precision="bfloat8")


@pytest.mark.slow
def test_a_processor_without_the_instructions_is_told_and_the_product_is_the_reference():
    pytest.importorskip("numba")
    code = "import numpy as np, tinylm_kernels as K; a = np.ones((3, 3), np.float32); print(K.why_not_bfloat16()); "
    code += "print(K.matmul_bfloat16(a, a).sum(), list(K.matmul_bfloat16.implementations))"
    environment = {**os.environ, "NUMBA_CPU_NAME": "x86-64-v3"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "this processor does not have the instructions AVX512-BF16",
        "27.0 ['numpy']",
    ]
