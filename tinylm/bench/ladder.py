"""The ladders of `tinylm_kernels.ladders` as benchmarks: the shapes that show what a step gains."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import tinylm_kernels as K
from tinylm_kernels import ladders

from ..errors import TinylmError
from ..extras import import_extra
from .cases import BENCHMARKS, Benchmark, Dims

__all__ = ["LADDERS", "RUNGS", "lessons", "load_ladders", "steps"]

LADDERS, RUNGS = ladders.LADDERS, ladders.RUNGS

# Small enough for plain loops, and what binds differs: memory or arithmetic, one row or some.
SHAPES: dict[str, tuple[Dims, ...]] = {
    "softmax": ((512, 50257), (12288, 256)),
    "attention": ((8, 6, 256, 256, 64),),
    "lstm": ((64, 64, 64),),
    "linear": ((1, 768, 50257), (8, 768, 3072)),
}


def load_ladders(names: Sequence[str]) -> None:
    """Register the rungs of these kernels. Raises TinylmError for one without a ladder, and without Numba."""
    import_extra("numba", "a ladder")
    for name in names:
        if name not in LADDERS:
            raise TinylmError(f"the kernel {name} has no ladder; there is one of {', '.join(LADDERS)}")
        ladders.load_ladder(name)


def steps(name: str) -> list[Benchmark]:
    """The benchmarks at which the ladder of this kernel is timed."""
    there = {benchmark.dims: benchmark for benchmark in BENCHMARKS[name]}
    return [there[dims] for dims in SHAPES[name]]


def lessons(name: str) -> dict[str, str]:
    """What each rung of this kernel teaches: its docstring, a paragraph to a line."""
    kernel = K.all_kernels()[name]
    texts = {rung: inspect.getdoc(kernel.implementations[rung].function) or "" for rung in RUNGS}
    return {rung: "\n".join(" ".join(part.split()) for part in text.split("\n\n")) for rung, text in texts.items()}
