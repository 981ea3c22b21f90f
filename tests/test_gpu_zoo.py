"""Mistakes put into the CUDA kernels, one at a time: the emulator must find each."""

from __future__ import annotations

import functools
import re
import shutil

import pytest
from cases import plain_case
from test_gpu_kernels import ON_CARD, on_card, to_host

from tinylm.bench.tolerance import WrongResultError, assert_matches
from tinylm_kernels.cuda.program import Program
from tinylm_kernels.emulator.findings import EmulationError
from tinylm_kernels.emulator.stand_in import emulated_gpu

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")]

# An axis long enough for several warps.
SIZE = 70
BARRIER = re.compile(r"__sync(threads|warp)\(\);")
LOOP = re.compile(r"(?<=; j) < (?=columns;)")


def kernels_of():
    """The kernels of each .cu file, by the file."""
    found = {}
    for kernel in ON_CARD:
        values = kernel.implementations["cuda"].function.__globals__.values()
        program = next(value for value in values if isinstance(value, Program))
        found.setdefault(program.path, (program, []))[1].append(kernel)
    return found.values()


def mutations(pattern):
    """(file, its kernels, which of the matches) for every match in the files."""
    return [
        pytest.param(kernels, number, id=f"{program.path.stem}-{number}")
        for program, kernels in kernels_of()
        for number, _ in enumerate(pattern.finditer(program.source.text))
    ]


def replace(text, pattern, number, by):
    match = list(pattern.finditer(text))[number]
    return text[: match.start()] + by + text[match.end() :]


def mistakes(kernels, edit):
    """What the emulator finds while the kernels of an edited file run."""
    found = []
    with emulated_gpu(edit=edit):
        for kernel in kernels:
            case = plain_case(kernel.name, "float32", SIZE)
            there = on_card(case)
            try:
                assert_matches(kernel, case, to_host(kernel["cuda"](*there.arrays, **there.settings)))
            except EmulationError as error:
                found += error.kinds
            except WrongResultError:
                found.append("wrong")
    return found


def test_the_unchanged_kernels_have_no_mistake():
    assert not any(mistakes(kernels, str) for _, kernels in kernels_of())


@pytest.mark.parametrize(("kernels", "number"), mutations(BARRIER))
def test_a_barrier_that_is_left_out_is_found_as_a_race(kernels, number):
    found = mistakes(kernels, functools.partial(replace, pattern=BARRIER, number=number, by=""))
    assert {"race", "unwritten"} & set(found)


@pytest.mark.parametrize(("kernels", "number"), mutations(LOOP))
def test_a_loop_that_goes_one_too_far_is_found(kernels, number):
    found = mistakes(kernels, functools.partial(replace, pattern=LOOP, number=number, by=" <= "))
    assert {"race", "outside"} & set(found)
