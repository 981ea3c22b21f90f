"""Kernels among the threads and processes of a program: every layer of Numba's, concurrent callers, forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

ROOT = Path(__file__).parent.parent

# What a step is made of, each large enough for several threads, in each of them; `expected` by one.
KERNELS = """
import os, sys, threading
import numba, numpy as np
import tinylm_kernels as K

rng = np.random.default_rng(0)
x, weight = (rng.standard_normal((600, 300), np.float32) for _ in range(2))
q = rng.standard_normal((2, 3, 96, 32), np.float32)


def results():
    return [K.softmax(x), K.linear(x, weight), K.attention(q, q, q, causal=True)[0], K.gelu(x, exact=False)]


def same(received, expected):
    return all(np.array_equal(r, e) for r, e in zip(received, expected, strict=True))


threads = numba.get_num_threads()
numba.set_num_threads(1)
expected = results()
numba.set_num_threads(threads)
"""

CONCURRENT = """
right = []
def work():
    for _ in range(10):
        right.append(same(results(), expected))

workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert threads > 1 and len(right) == 40 and all(right)
print(numba.threading_layer())
"""

FORK = """
import multiprocessing


def child(number):
    right = [same(results(), expected)]
    thread = threading.Thread(target=lambda: right.append(same(results(), expected)))
    thread.start()
    thread.join()
    K.softmax(np.full_like(x, number))  # takes the memory of what died before the fork, as the parent does
    return right


assert same(results(), expected)
with multiprocessing.get_context("fork").Pool(2) as pool:
    answers = pool.map_async(child, range(4)).get(timeout=120)
assert answers == [[True, True]] * 4, answers
assert same(results(), expected)
"""


def run(code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])} | settings
    # Python 3.12 warns of every fork among threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KERNELS + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


slow = pytest.mark.slow


@pytest.mark.parametrize("layer", ["omp", pytest.param("tbb", marks=slow), pytest.param("workqueue", marks=slow)])
def test_threads_of_the_program_may_call_kernels_at_once_in_every_layer(layer):
    result = run(CONCURRENT, NUMBA_THREADING_LAYER=layer)
    if "No threading layer could be loaded" in result.stderr:
        pytest.skip(f"Numba finds no library for its layer {layer}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [layer]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("layer", ["default", pytest.param("omp", marks=slow), pytest.param("workqueue", marks=slow)])
def test_a_forked_process_computes_the_same_bits_in_one_thread(layer):
    result = run(FORK, NUMBA_THREADING_LAYER=layer)
    if "No threading layer could be loaded" in result.stderr:
        pytest.skip(f"Numba finds no library for its layer {layer}")
    assert result.returncode == 0, result.stderr
