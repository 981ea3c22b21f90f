"""The pool of memory: what dies is used again, what lives never is."""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm_kernels as K
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import AdamW, parameter_groups
from tinylm_kernels.pool import SMALLEST

LARGE = (300, 400)  # of float32: 480 kB


def address(array):
    return array.__array_interface__["data"][0]


def test_an_array_gets_the_memory_of_one_that_has_died():
    pool = K.Pool()
    first = pool.empty(LARGE)
    there = address(first)
    second = pool.empty(LARGE)
    assert address(second) != there
    del first
    third = pool.empty((400, 300))  # as many bytes in another shape
    assert address(third) == there
    assert third.flags.c_contiguous
    assert third.flags.writeable


def test_what_is_up_to_half_as_large_takes_the_smallest_block_that_fits():
    pool = K.Pool()
    large, small = pool.empty((1000, 1000)), pool.empty((900, 700))
    there = {address(large): large.nbytes, address(small): small.nbytes}
    del large, small
    second, third = pool.empty((800, 700)), pool.empty((800, 700))
    assert [there.get(address(array)) for array in (second, third)] == [900 * 700 * 4, 1000 * 1000 * 4]
    del second, third
    assert address(pool.empty((400, 700))) not in there  # less than half of either


@pytest.mark.parametrize(
    "view", [lambda a: a[1:], lambda a: a.T[::2], lambda a: a.view(np.int32).reshape(-1), memoryview]
)
def test_a_view_keeps_the_memory_until_it_dies_too(view):
    pool = K.Pool()
    array = pool.empty(LARGE)
    there, kept = address(array), view(array)
    del array
    other = pool.empty(LARGE)
    assert address(other) != there
    del kept
    assert address(pool.empty(LARGE)) == there


FORK = """
import os
import numpy as np
from tinylm_kernels import empty

x = empty((300, 400))
x[...] = 1
child = os.fork()
if child == 0:
    x[...] = 2
    os._exit(0)
os.waitpid(child, 0)
print(x.max())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_writes_to_memory_of_its_own():
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "1.0\n"


def test_small_arrays_are_left_to_numpy():
    pool = K.Pool()
    assert pool.empty((10, 10)).base is None
    assert isinstance(pool.empty((SMALLEST // 4,)).base, mmap.mmap)
    assert pool.empty((0, 10**9)).shape == (0, 10**9)


def test_memory_is_aligned_for_every_vector():
    pool = K.Pool()
    assert all(address(pool.empty((SMALLEST + extra,), np.uint8)) % 64 == 0 for extra in range(0, 9000, 1111))


def test_poison_shows_who_looks_too_late():
    pool = K.Pool(poison=True)
    array = pool.empty(LARGE)
    array[...] = 1
    there = address(array)
    del array
    again = pool.empty(LARGE)
    assert address(again) == there
    assert np.isnan(again).all()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 700)), min_size=1, max_size=60))
def test_arrays_that_live_never_share_memory(orders):
    """Each order lets one array die and makes another; each holds a number of its own all along."""
    pool, alive = K.Pool(poison=True), {}
    for number, (slot, rows) in enumerate(orders):
        alive.pop(slot, None)
        array = pool.empty((rows, 100))
        array[...] = number
        alive[slot] = number, array
        assert all((a == n).all() for n, a in alive.values())


def test_a_pool_gives_its_memory_back_when_asked():
    pool = K.Pool()
    arrays = [pool.empty(LARGE) for _ in range(3)]
    assert pool.free_bytes == 0
    del arrays[1:]
    assert 2 * 480_000 <= pool.free_bytes <= 2 * 480_000 * 1.125 + 2 * 4096
    pool.release()
    assert pool.free_bytes == 0
    arrays[0][...] = 1  # what lives is not touched


def test_threads_may_share_a_pool():
    pool, wrong = K.Pool(), []

    def work(number):
        for _ in range(300):
            array = pool.empty(LARGE)
            array[...] = number
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def steps(pool, count=3):
    """The losses of some training steps, and the weights after them."""
    with K.use_pool(pool):
        model = GPT2(GPT2Config(50, n_positions=64, n_embd=64, n_layer=2, n_head=2), Initializer(0)).train()
        optimizer = AdamW(parameter_groups(model, 0.1))
        rng, losses = np.random.default_rng(0), []
        for _ in range(count):
            ids = rng.integers(0, 50, (16, 65))
            optimizer.zero_grad()
            loss = model.loss(ids[:, :-1], ids[:, 1:])
            loss.backward()
            optimizer.step(1e-3)
            losses.append(loss.item())
            del loss
        return losses, model.state_dict()


def test_training_never_looks_at_memory_that_it_gave_back():
    losses, weights = steps(K.Pool())
    poisoned, same = steps(K.Pool(poison=True))
    assert losses == poisoned
    assert all((weights[name] == same[name]).all() for name in weights)


def test_a_step_needs_no_memory_that_the_step_before_has_not_given_back():
    pytest.importorskip("numba")
    pool = K.Pool()
    steps(pool, 2)
    gc.collect()
    before = pool.free_bytes
    assert before > 0
    steps(pool, 4)
    gc.collect()
    assert pool.free_bytes == before
