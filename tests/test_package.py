"""What a stranger meets first: the import, the facade, the missing compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tinylm

HEAVY = ("numba", "llvmlite", "torch", "cupy", "matplotlib", "scipy", "pandas", "transformers")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    "statement", ["import tinylm", "import tinylm; tinylm.load", "import tinylm; tinylm.train", "import tinylm_kernels"]
)
def test_importing_loads_numpy_and_nothing_heavier(statement: str) -> None:
    done = run(f"{statement}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_command_line_prepares_its_process_before_numpy_is_loaded() -> None:
    done = run("import tinylm.cli, sys; print('numpy' in sys.modules)")
    assert done.stdout.strip() == "False", done.stdout + done.stderr


def test_every_public_name_is_there_and_documented() -> None:
    for name in tinylm.__all__:
        assert getattr(tinylm, name).__doc__
    assert set(tinylm.__all__) <= set(dir(tinylm))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tinylm.nothing


def test_without_numba_everything_runs_on_the_references_and_one_line_says_so() -> None:
    done = run(
        "import sys\n"
        "sys.modules['numba'] = None\n"
        "import tempfile, tinylm\n"
        "folder = tempfile.mkdtemp() + '/run'\n"
        "settings = dict(steps=2, layers=1, width=8, heads=2, context=8, batch_size=2, validation=0.001)\n"
        "run = tinylm.train(out=folder, **settings)\n"
        "print(len(tinylm.load(run.best).generate('The ', max_tokens=5, seed=0)))\n"
    )
    assert done.stdout.strip() == "5", done.stderr
    assert done.stderr.count('pip install "tinylm[fast]"') == 1
    assert len(done.stderr.strip().splitlines()) == 1


def test_kernels_without_their_sources_are_not_cached(tmp_path, monkeypatch) -> None:
    jit = pytest.importorskip("tinylm_kernels.jit")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "frozen" / "jit.pyc"))
    assert jit.kernel_cache_folder.__wrapped__() is None
