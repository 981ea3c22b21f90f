"""tinylm cuda: what it shows of the kernels, and what it says of one that is wrong."""

from __future__ import annotations

import shutil

import pytest

from tinylm.bench import cuda_programs
from tinylm.cli import main

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="the emulator needs g++")
RUN = ["cuda", "run", "softmax", "--emulate"]


def test_the_list_shows_each_file_with_its_kernels_and_barriers(capsys):
    assert main(["cuda", "list", "softmax"]) == 0
    shown = capsys.readouterr().out
    assert "softmax(T* x, T* y, int columns)" in shown
    assert "barrier 1: common.cuh:" in shown
    assert main(["cuda", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{program.path.name}\n" in shown for program in cuda_programs().values())


@needs_compiler
def test_a_right_kernel_runs_on_the_cpu(capsys):
    assert main(RUN) == 0
    shown = capsys.readouterr().out
    assert "softmax: grid (37, 1, 1), block (64, 1, 1)" in shown
    assert "the result is the reference's" in shown


@needs_compiler
def test_the_steps_of_a_thread_are_shown_in_order(capsys):
    assert main([*RUN, "--shape", "2,70", "--trace", "1,69"]) == 0
    steps = [line.split()[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert steps[0] == ["reads", "x[139]"]
    assert steps[-1] == ["writes", "y[139]"]
    assert ["meets", "__syncthreads();"] in steps


@needs_compiler
def test_a_barrier_that_is_left_out_is_told_as_a_race_and_ends_with_status_2(capsys):
    assert main([*RUN, "--shape", "2,70", "--without-barrier", "1"]) == 2
    told = capsys.readouterr()
    assert "race: thread" in told.out
    assert "common.cuh:" in told.out
    assert told.err == "tinylm: error: softmax is wrong: see above\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "sofmax", "--emulate"], "there is no CUDA kernel 'sofmax'; did you mean 'softmax'?"),
        (
            ["run", "softmax", "--emulate", "--without-barrier", "9"],
            "--without-barrier is 9, but softmax.cu has 3 barriers",
        ),
        (
            ["run", "softmax", "--emulate", "--trace", "1"],
            "--trace takes 2 whole numbers with commas between, received '1'",
        ),
        (
            ["run", "softmax", "--emulate", "--shape", "a"],
            "--shape takes some whole numbers with commas between, received 'a'",
        ),
    ],
)
def test_a_mistake_in_the_options_is_one_line(capsys, arguments, message):
    assert main(["cuda", *arguments]) == 2
    assert capsys.readouterr().err == f"tinylm: error: {message}\n"


def test_without_a_compiler_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("tinylm_kernels.emulator.build.shutil.which", lambda name: None)
    for cached in ("_compiler", "_machine", "_library", "_version"):
        monkeypatch.setattr(f"tinylm_kernels.emulator.build.{cached}", uncached(cached))
    assert main(RUN) == 2
    assert "apt install g++" in capsys.readouterr().err


def uncached(name):
    from tinylm_kernels.emulator import build

    return getattr(build, name).__wrapped__


@pytest.mark.oracle
def test_compiling_shows_what_each_kernel_takes(capsys):
    pytest.importorskip("nvidia")
    assert main(["cuda", "compile", "softmax", "--arch", "80"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["kernel", "NVRTC", "arch", "registers", "shared", "spilled"]
    assert {line[0] for line in lines[1:]} == {"softmax", "softmax_backward"}
    assert all(line[2] == "sm_80" and line[-1] == "0" for line in lines[1:])
