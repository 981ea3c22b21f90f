"""`tinylm bench` finds what is wrong with an implementation, says it, and times what is right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinylm_kernels as K
from tinylm.bench import BENCHMARKS, Roofs, compare, import_implementations, rivals, save_roofline
from tinylm.bench.checking import Checks
from tinylm.cli import main
from tinylm.errors import TinylmError

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "my_softmax.py"
SOFTMAX = BENCHMARKS["softmax"][0]


def bench(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "tinylm", "bench", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def implement(monkeypatch):
    """Register implementations of softmax for one test."""
    monkeypatch.setattr(K.softmax, "_implementations", K.softmax.implementations)
    monkeypatch.setattr(K.softmax, "_choices", {})
    return lambda function: K.softmax.implement("mine", dtypes=("float32",))(function)


def right(x, out=None):
    return K.softmax["numpy"](x, out=out)


def no_peak(x, *, out=None):
    y = np.exp(x, out=out)
    y /= y.sum(axis=-1, keepdims=True)
    return y


def wrong_order(x, *, out=None):
    return right(x[..., ::-1], out)


def contiguous_only(x, *, out=None):
    return right(np.frombuffer(x.base if x.base is not None else x, x.dtype, x.size).reshape(x.shape), out)


def by_eights(x, *, out=None):
    return right(x[..., : x.shape[-1] // 8 * 8], out)


def forgets_out(x, *, out=None):
    return right(x)


def writes(x, *, out=None):
    x -= x.max(axis=-1, keepdims=True)
    return right(x, out)


def divides_by_zero(x, *, out=None):
    return x / (1 // 0)


def returns_nothing(x, *, out=None):
    right(x, out)


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (no_peak, r"softmax 37 x 35, an outlier of 100: its result\[0, 0\] is nan, expected 1"),
        (wrong_order, r"softmax 64 x 256: its result\[\d+, \d+\] is .* truly .* off by .* allowed"),
        (contiguous_only, r"softmax 64 x 256, not contiguous: its result\[\d+, \d+\] is"),
        (by_eights, r"softmax 37 x 35: its result has shape \(37, 32\), expected \(37, 35\)"),
        (forgets_out, r"it did not return the array that it was given as out="),
        (writes, r"softmax 64 x 256: it wrote to its argument x"),
        (divides_by_zero, r"test_bench.py:\d+: ZeroDivisionError"),
        (returns_nothing, r"its result has shape \(\), expected"),
    ],
)
def test_a_mistake_is_told_with_the_case_that_shows_it(implement, function, complaint):
    implement(function)
    assert re.search(complaint, Checks(SOFTMAX).complaint("mine"))


def test_a_mistake_that_shows_at_full_size_alone_is_found(implement):
    @implement
    def only_the_first_rows(x, *, out=None):
        y = right(x, out)
        y[1000:] = 0
        return y

    found = compare(SOFTMAX, None, rounds=1)
    assert re.search(r"softmax 12288 x 256: its result\[1000, \d+\] is 0", found.wrong["mine"])
    for_cpu = {name for name, i in K.softmax.implementations.items() if i.takes("cpu", {"float32"})} - {"mine"}
    assert {m.candidate for m in found.measured} == for_cpu


def test_a_right_implementation_is_timed_beside_ours_and_drawn(implement, tmp_path):
    pytest.importorskip("matplotlib")
    implement(lambda x, *, out=None: right(x, out))
    found, roofs = compare(SOFTMAX, None, rounds=2), Roofs(bandwidth=10e9, product=100e9)
    assert not found.wrong
    record = next(r for r in found.records(roofs) if r["candidate"] == "mine")
    assert record["roof"] == "memory"  # 5 operations a number, 8 bytes
    assert record["roof_share"] == pytest.approx(record["gb_per_s"] / 10)
    assert record["gflop_per_s"] == pytest.approx(record["gb_per_s"] * 5 / 8)
    save_roofline(tmp_path / "roofs.svg", [found], roofs)
    assert "<svg" in (tmp_path / "roofs.svg").read_text(encoding="utf-8")


class Compiler:
    """A stand-in for torch, whose compiler takes what `able` says."""

    def __init__(self, torch, able):
        self.from_numpy, self.able = torch.from_numpy, able

    def compile(self, run, **options):
        return run if self.able else self.fail

    def fail(self):
        raise RuntimeError("no C++ compiler\nand many lines more")


@pytest.mark.oracle
@pytest.mark.parametrize("able", [False, True])
def test_what_torch_cannot_compile_is_left_out_with_its_reason(able):
    torch = Compiler(pytest.importorskip("torch"), able)
    found = compare(SOFTMAX, torch, rounds=1, compiled=True)
    assert ("torch compiled" in {m.candidate for m in found.measured}) == able
    assert found.failed == ({} if able else {"torch compiled": "no C++ compiler"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "from tinylm_kernels import softmax\n\n@softmax.implement('mine')\ndef f(x):\n    return x\n",
            r"mine\.py:3: ValueError: softmax\['mine'\] must be called as \(x, \*, out=None\), not as \(x\)",
        ),
        ("x = 1\ny = x / 0\n", r"mine\.py:2: ZeroDivisionError"),
        ("x = 1\ndef f(:\n", r"mine\.py:2: SyntaxError"),
        ("raise SystemExit(3)\n", r"mine\.py:1: SystemExit: 3"),
        ("x = 1\n", r"mine\.py registers nothing; .*softmax\.implement"),
        (None, r"mine\.py: there is no such file"),
    ],
)
def test_a_module_that_registers_nothing_is_refused_with_its_line(tmp_path, monkeypatch, text, message):
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    if text is not None:
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(TinylmError, match=message):
        import_implementations(str(tmp_path / "mine.py"))
    sys.modules.pop("mine", None)


def test_a_wrong_module_ends_with_status_2_and_says_why(tmp_path):
    wrong = (
        "from tinylm_kernels import linear_backward_bias as kernel\n"
        "@kernel.implement('mine')\n"
        "def mine(dy, *, out=None, accumulate=False):\n    return 2 * kernel.reference(dy, out=out)\n"
    )
    (tmp_path / "mine.py").write_text(wrong, encoding="utf-8")
    done = bench("--quick", "--module", "mine.py", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(r"mine +WRONG: linear_backward_bias 64 x 1536: its result\[\d+\] is .* truly", done.stdout)
    assert done.stderr == "tinylm: error: wrong: linear_backward_bias['mine']; see above\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["geluu"], "there is no kernel 'geluu'; did you mean 'gelu'?"),
        (["gelu", "--threads", "0"], "--threads takes a number from 1 on, received 0"),
        (["gelu", "--plot", "x.gif"], "x.gif: a plot takes a name that ends in .png, .svg, .pdf"),
        (["gelu", "--json", "there/is/none.jsonl"], "there/is/none.jsonl: there is no folder there/is"),
        (["gelu", "--ladder"], "the kernel gelu has no ladder; there is one of softmax, attention, lstm, linear"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(capsys, arguments, message):
    assert main(["bench", *arguments]) == 2
    assert capsys.readouterr().err == f"tinylm: error: {message}\n"


def test_the_list_shows_every_kernel_implementation_and_shape(capsys):
    assert main(["bench", "--list"]) == 0
    shown = capsys.readouterr().out
    for name, kernel in K.all_kernels().items():
        assert f"{name}\n" in shown
        assert all(f"  {implementation} " in shown for implementation in kernel.implementations)
    assert "512 x 50257 (GPT-2's logits)" in shown


def test_every_kernel_has_realistic_shapes_and_a_counterpart_in_torch():
    for name in K.all_kernels():
        assert BENCHMARKS.get(name), f"add shapes of {name} to tinylm/bench/cases.py"
        assert name == "adamw" or hasattr(rivals, name), f"add {name} to tinylm/bench/rivals.py"


def test_the_example_in_the_documentation_is_the_file():
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    shown = re.search(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert shown is not None
    assert EXAMPLE.read_text(encoding="utf-8").partition("\n\n")[2] == shown[1]


@pytest.mark.slow
def test_the_example_is_right_and_what_the_documentation_says_about_float32_is_true(tmp_path):
    pytest.importorskip("numba")
    results = tmp_path / "results.jsonl"
    done = bench("--module", EXAMPLE, "--threads", 1, "--json", results, "--plot", "roofs.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert {r["kernel"] for r in records} == {"softmax"}
    assert {"numpy", "numba", "mine"} <= {r["candidate"] for r in records}
    assert {"minimum_s", "median_s", "gflop_per_s", "gb_per_s", "roof", "threads", "processor"} <= set(records[0])
    assert (tmp_path / "roofs.png").stat().st_size > 0
    careless = EXAMPLE.read_text(encoding="utf-8").replace("0.0", "np.float32(0)")
    (tmp_path / "careless.py").write_text(careless, encoding="utf-8")
    done = bench("--module", "careless.py", "--threads", 1, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "WRONG: softmax 64 x 50257: its result" in done.stdout


@pytest.mark.slow
def test_every_implementation_of_every_kernel_passes_the_checks_of_its_first_shape():
    for name, kernel in K.all_kernels().items():
        checks = Checks(BENCHMARKS[name][0])
        names = [n for n, i in kernel.implementations.items() if i.takes("cpu", {"float32"})]
        assert not [c for c in map(checks.complaint, names) if c], name
