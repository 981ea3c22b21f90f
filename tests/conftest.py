"""How the tests run: reproducible examples, and threads that yield to one another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Both are read once, when NumPy's BLAS and the OpenMP library load: without them the idle threads of one spin
# on the cores that the other needs.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Two threads, also on a machine with one core: the tests compare one thread with two.
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(2, os.cpu_count() or 1)))

import pytest
from hypothesis import HealthCheck, settings

# Started in the background by a shell, this process and its children would ignore Ctrl-C; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "print_blob": False}

# `pytest --hypothesis-profile thorough` searches at random and longer.
settings.register_profile("quick", max_examples=12, derandomize=True, database=None, **_COMMON)
settings.register_profile("thorough", max_examples=400, **_COMMON)
settings.load_profile("quick")


@pytest.fixture
def caches(tmp_path: Path, monkeypatch) -> None:
    """Token files of the tests do not go to the user's cache."""
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def text(tmp_path: Path, caches) -> Path:
    """A small text to train on."""
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. " * 60, encoding="utf-8")
    return path
