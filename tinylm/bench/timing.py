"""The time of a kernel's candidates, in turns in one process, so that they see the same machine."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tinylm_kernels as K

from .calls import Case
from .cases import Benchmark
from .checking import Checks, assert_roughly_equal, out_for, trusted
from .ladder import RUNGS
from .machine import Roofs, fastest
from .rivals import NOT_COMPARED, torch_candidates
from .tolerance import outputs

__all__ = ["Comparison", "Measurement", "compare"]

# An implementation that takes longer than this a call is left out: by then its ratio says nothing new.
SLOWEST = 2.0
# A sample repeats a call until it takes this long, so that the clock's resolution and jitter do not show.
SAMPLE = 0.01
# Between candidates, until the OpenMP threads of the one before have gone to sleep.
SETTLE = 0.01

Run = Callable[[], Any]


@dataclass(frozen=True)
class Measurement:
    """The seconds of a call of one candidate, a sample a round."""

    candidate: str
    samples: tuple[float, ...]

    @property
    def minimum(self) -> float:
        return min(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass
class Comparison:
    """What came of a kernel at one shape. flops, moved: the floating operations and the bytes of a call.

    wrong: the complaint about each implementation that failed its checks; slow: those that were left out, and the
    seconds that a call of them would take; failed: why PyTorch could not compile.
    """

    benchmark: Benchmark
    flops: float
    moved: float
    measured: list[Measurement] = field(default_factory=list)
    wrong: dict[str, str] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def records(self, roofs: Roofs) -> list[dict[str, Any]]:
        """The measurements as they stand in a file of results; rates at the median."""
        floor, binding = roofs.least_time(self.flops, self.moved)
        return [
            {
                "kernel": self.benchmark.name,
                "dims": self.benchmark.dims,
                "candidate": m.candidate,
                "minimum_s": m.minimum,
                "median_s": m.median,
                "gflop_per_s": self.flops / m.median / 1e9,
                "gb_per_s": self.moved / m.median / 1e9,
                "roof": binding,
                "roof_share": floor / m.median,
                "bandwidth_gb_per_s": roofs.bandwidth / 1e9,
                "product_gflop_per_s": roofs.product / 1e9,
            }
            for m in self.measured
        ]


def compare(benchmark: Benchmark, torch: Any, rounds: int, *, compiled: bool = False) -> Comparison:
    """Check all implementations of a kernel that run here, then time those that are right, and PyTorch (or None).

    compiled: time what `torch.compile` makes of PyTorch's functions as well.
    """
    kernel = K.all_kernels()[benchmark.name]
    with trusted():
        case = benchmark.build(*benchmark.dims)
        small = benchmark.build(*benchmark.small)
        results = outputs(kernel(*case.arrays, **case.settings))
    found = Comparison(benchmark, *benchmark.work(case, results))
    checks, candidates = Checks(benchmark), {}
    for name, implementation in _in_order(kernel.implementations):
        if not implementation.takes("cpu", {"float32"}):
            continue
        if complaint := checks.complaint(name):
            found.wrong[name] = complaint
        elif (seconds := _estimate(benchmark, small, name)) > SLOWEST:
            found.slow[name] = seconds
        elif complaint := checks.complaint_at_full_size(name, case, results):
            found.wrong[name] = complaint
        else:
            candidates[name] = _ours(benchmark, case, results, name)
    if torch is not None:
        theirs = _theirs(benchmark, case, small, torch)
        if compiled:
            theirs |= _compiled(benchmark, theirs, torch, found)
        candidates |= theirs
    found.measured = [Measurement(name, tuple(times)) for name, times in take_turns(candidates, rounds).items()]
    return found


def _in_order(implementations: dict[str, Any]) -> list[tuple[str, Any]]:
    """The reference, the rungs of a ladder, then what else there is."""
    places = {name: place for place, name in enumerate(("numpy", *RUNGS))}
    return sorted(implementations.items(), key=lambda item: places.get(item[0], len(places)))


def _estimate(benchmark: Benchmark, small: Case, name: str) -> float:
    """The seconds that a call would take at full size, from one with fewer rows."""
    run = functools.partial(K.all_kernels()[benchmark.name][name], *small.arrays, **small.settings)
    return fastest(run, 0.1) * benchmark.times_larger


def _ours(benchmark: Benchmark, case: Case, results: list[Any], name: str) -> Run:
    """A call of one implementation, with a reused output where the kernel has `out`."""
    kernel = K.all_kernels()[benchmark.name]
    arrays, settings = case.arrays, dict(case.settings)
    if benchmark.in_place:
        arrays = case.copy().arrays
        settings["out"] = tuple(arrays[i] for i in benchmark.in_place)
    elif (out := out_for(kernel, results)) is not None:
        settings["out"] = out
    return functools.partial(kernel[name], *arrays, **settings)


def _theirs(benchmark: Benchmark, case: Case, small: Case, torch: Any) -> dict[str, Run]:
    """PyTorch's candidates, after a comparison on fewer rows that they compute the same thing."""
    if benchmark.name not in NOT_COMPARED:
        expected = outputs(K.all_kernels()[benchmark.name]["numpy"](*small.arrays, **small.settings))
        for function in torch_candidates(torch, benchmark.name, small).values():
            assert_roughly_equal(_arrays(function()), expected)
    return torch_candidates(torch, benchmark.name, case)


def _compiled(benchmark: Benchmark, theirs: dict[str, Run], torch: Any, found: Comparison) -> dict[str, Run]:
    """PyTorch's candidates as `torch.compile` makes them, where it can; it takes seconds for each."""
    made = {}
    for name, run in theirs.items():
        made[f"{name} compiled"] = torch.compile(run, fullgraph=True, dynamic=False)
    for name, run in list(made.items()):
        try:
            result = run()
        except Exception as error:  # of the tracer, the code generator or the C++ compiler
            found.failed[name] = next(iter(str(error).strip().splitlines()), type(error).__name__)
            del made[name]
            continue
        if benchmark.name not in NOT_COMPARED:
            assert_roughly_equal(_arrays(result), list(_arrays(theirs[name.removesuffix(" compiled")]())))
    return made


def _arrays(result: Any) -> tuple[Any, ...]:
    return tuple(r.detach().numpy() for r in (result if isinstance(result, tuple) else (result,)))


def take_turns(candidates: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """The seconds of a call of each candidate, once a round."""
    repeats = {}
    for name, run in candidates.items():
        run()  # compiles and touches the memory
        begin = time.perf_counter()
        run()
        repeats[name] = max(1, round(SAMPLE / (time.perf_counter() - begin)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            time.sleep(SETTLE)
            run()  # wakes this candidate's threads
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            samples[name].append((time.perf_counter() - begin) / repeats[name])
    return samples
