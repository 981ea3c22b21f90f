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
from tinylm.bench.tolerance import WrongResultError, assert_matches
from tinylm_kernels import cuda
from tinylm_kernels.emulator.findings import EmulationError
from tinylm_kernels.emulator.stand_in import emulated_gpu

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")]

# Axes for one warp, which needs no barrier for its own sums, and for several.
SIZES = (20, 70)
BARRIER = re.compile(r"__sync(threads|warp)\(\);")
LOOP = re.compile(r"(?<=; j) < (?=(columns|V);)")
HEADER = Path(cuda.__file__).with_name("common.cuh")


def kernels_of():
    """The kernels of each .cu file, by the file."""
    found = {}
    for kernel in ON_CARD:
        values = kernel.implementations["cuda"].function.__globals__.values()
        program = next(value for value in values if isinstance(value, cuda.Program))
        found.setdefault(program.path, []).append(kernel)
    return found


def mutations(pattern, files):
    """(file, which of the matches in it) for every match."""
    return [
        pytest.param(file, number, id=f"{file.stem}-{number}")
        for file in files
        for number, _ in enumerate(pattern.finditer(file.read_text()))
    ]


def mistakes(kernels, file=None, pattern=None, number=None, by=""):
    """What the emulator finds while kernels run, with one match in a file replaced."""

    def edit(text):
        part = file.read_text().replace("#pragma once\n", "\n") if file is not None else ""
        part = part.split('#include "../cuda/common.cuh"\n')[-1].strip("\n")
        match = list(pattern.finditer(part))[number] if part else None
        return text.replace(part, part[: match.start()] + by + part[match.end() :]) if part else text

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
    return found


def test_the_unchanged_kernels_have_no_mistake():
    assert not mistakes(ON_CARD)


@pytest.mark.parametrize(("file", "number"), mutations(BARRIER, kernels_of()))
def test_a_barrier_that_is_left_out_is_found_as_a_race(file, number):
    assert {"race", "unwritten"} & set(mistakes(kernels_of()[file], file, BARRIER, number))


@pytest.mark.parametrize(("file", "number"), mutations(BARRIER, [HEADER]))
def test_a_barrier_of_all_kernels_that_is_left_out_is_found_as_a_race(file, number):
    assert {"race", "unwritten"} & set(mistakes((K.softmax, K.layer_norm_backward), file, BARRIER, number))


@pytest.mark.parametrize(("file", "number"), mutations(LOOP, kernels_of()))
def test_a_loop_that_goes_one_too_far_is_found(file, number):
    assert {"race", "outside"} & set(mistakes(kernels_of()[file], file, LOOP, number, " <= "))
