"""Mistakes put into the CUDA kernels, one at a time: the emulator must find each."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

import pytest
from cases import plain_case
from test_gpu_kernels import ON_CARD, on_card, to_host

import tinylm_kernels as K
from tinylm.bench import cuda_programs
from tinylm.bench.tolerance import WrongResultError, assert_matches
from tinylm_kernels import cuda
from tinylm_kernels.emulator.findings import EmulationError
from tinylm_kernels.emulator.stand_in import emulated_gpu

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")]

# Axes for one warp, which needs no barrier for its own sums, and for several.
SIZES = (20, 70)
LOOP = re.compile(r"(?<=; j) < (?=(columns|V);)")
PROGRAMS = list(dict.fromkeys(cuda_programs().values()))
SHARED_BY_ALL = Path(cuda.__file__).with_name("common.cuh")


def kernels_of(program):
    return [K.all_kernels()[name] for name, other in cuda_programs().items() if other is program]


def barriers(program, file):
    """The numbers of the barriers of a program that stand in a file."""
    return [number for number, (where, _) in enumerate(program.source.barriers()) if where == file.as_posix()]


def mistakes(kernels, edit=str):
    """What the emulator finds while kernels run whose text is edited."""
    found = []
    with emulated_gpu(edit=edit):
        for kernel, size in itertools.product(kernels, SIZES):
            case = plain_case(kernel.name, "float32", size)
            there = on_card(case)
            in_place = {"out": there.arrays[0]} if kernel.name == "cross_entropy_with_gradient" else {}
            try:
                assert_matches(kernel, case, to_host(kernel["cuda"](*there.arrays, **there.settings, **in_place)))
            except EmulationError as error:
                found += error.kinds
            except WrongResultError:
                found.append("wrong")
    return set(found)


def test_the_unchanged_kernels_have_no_mistake():
    assert not mistakes(ON_CARD)


@pytest.mark.parametrize(
    ("program", "number"),
    [pytest.param(p, n, id=f"{p.path.stem}-{n}") for p in PROGRAMS for n in barriers(p, p.path)],
)
def test_a_barrier_that_is_left_out_is_found_as_a_race(program, number):
    assert {"race", "unwritten"} & mistakes(kernels_of(program), lambda _: program.source.without_barrier(number))


@pytest.mark.parametrize("number", barriers(cuda_programs()["softmax"], SHARED_BY_ALL))
def test_a_barrier_of_all_kernels_that_is_left_out_is_found_as_a_race(number):
    programs = [cuda_programs()[name] for name in ("softmax", "layer_norm")]
    assert any(
        {"race", "unwritten"} & mistakes(kernels_of(p), lambda _, p=p: p.source.without_barrier(number))
        for p in programs
    )


def loops():
    for program in PROGRAMS:
        for number, match in enumerate(LOOP.finditer(program.source.text)):
            yield pytest.param(program, match, id=f"{program.path.stem}-{number}")


@pytest.mark.parametrize(("program", "loop"), list(loops()))
def test_a_loop_that_goes_one_too_far_is_found(program, loop):
    text = program.source.text
    edited = text[: loop.start()] + " <= " + text[loop.end() :]
    assert {"race", "outside"} & mistakes(kernels_of(program), lambda _: edited)
