"""The examples run as they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_tutorial_of_keras_runs_and_learns(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "keras_tutorial.py", "--epochs", "2", "--samples", "192"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.rpartition("loss: ")[2]) for line in done.stdout.splitlines() if "loss: " in line]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert "the value of the" in done.stdout
