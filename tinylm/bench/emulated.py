"""A CUDA kernel on the CPU, at one of its realistic calls: what was launched, what was wrong, what a thread did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tinylm_kernels as K
from tinylm_kernels.cuda import Program
from tinylm_kernels.emulator.findings import EmulationError
from tinylm_kernels.emulator.run import Launch
from tinylm_kernels.emulator.stand_in import emulated_gpu

from .cases import BENCHMARKS, Dims
from .tolerance import WrongResultError, assert_matches

__all__ = ["EmulatedRun", "cuda_programs", "run_emulated"]


@dataclass(frozen=True)
class EmulatedRun:
    """One call. launches: each kernel that ran and how, with the steps of the thread that was traced.

    mistakes: what the emulator found, in words, None where all is well. wrong: how the result differs from the
    reference's beyond rounding, None where it does not.
    """

    launches: list[tuple[str, Launch]]
    mistakes: str | None
    wrong: str | None


def cuda_programs() -> dict[str, Program]:
    """The .cu file of each kernel that has a CUDA implementation, by the kernel's name."""
    found = {}
    for name, kernel in K.all_kernels().items():
        implementation = kernel.implementations.get("cuda")
        if implementation is not None:
            values = implementation.function.__globals__.values()
            found[name] = next(value for value in values if isinstance(value, Program))
    return found


def run_emulated(
    name: str,
    *,
    dims: Dims | None = None,
    order: int = 0,
    trace: tuple[int, int] | None = None,
    without_barrier: int | None = None,
) -> EmulatedRun:
    """Run a kernel's CUDA implementation on the emulator, every access of memory watched.

    dims: the numbers of a shape, as `tinylm bench --list` shows them; small odd ones by default. order: 0 threads one
    after the other, 1 backwards, above: shuffled by it. trace: a block and a thread. without_barrier: the number of a
    barrier of the file (`Source.barriers`) that is left out. Raises NoCompilerError without g++.
    """
    benchmark = BENCHMARKS[name][0]
    case = benchmark.build(*(dims or benchmark.odd))
    source = cuda_programs()[name].source

    def edit(text: str) -> str:
        return text if without_barrier is None else source.without_barrier(without_barrier)

    mistakes = wrong = None
    with emulated_gpu(order=order, trace=trace, edit=edit) as card:
        import cupy

        there = case.copy().map(cupy.asarray)
        try:
            result = K.all_kernels()[name]["cuda"](*there.arrays, **there.settings)
            assert_matches(K.all_kernels()[name], case, _to_host(result))
        except EmulationError as error:
            mistakes = str(error)
        except WrongResultError as error:
            wrong = str(error)
    return EmulatedRun(card.launches, mistakes, wrong)


def _to_host(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(_to_host, result))
    return result if isinstance(result, float) else result.get()
