"""The time of every kernel in every implementation, against the NumPy reference and PyTorch.

    python benchmarks/bench_kernels.py                       # all kernels, all shapes: some minutes
    python benchmarks/bench_kernels.py --quick --kernel gelu --json results.jsonl

Every candidate is checked before it is timed, with the tolerance of the tests. The candidates take turns in
one process, so that they see the same machine. The kernels write to an output that is reused (`out=`, where
they have it); PyTorch makes a fresh one at each call, as its users have it do, and on large arrays that alone
can be half of its time.
"""

from __future__ import annotations

import environment  # before NumPy is loaded

# isort: split
import argparse
import functools
import inspect
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import tinylm_kernels as K
from tinylm.bench import machine
from tinylm.bench.calls import RECEIVED_BY_OUT, Case
from tinylm.bench.cases import BENCHMARKS, Benchmark
from tinylm.bench.rivals import NOT_COMPARED, torch_candidates
from tinylm.bench.tolerance import assert_matches, outputs

# A reference slower than this is left out: by then its ratio says nothing new.
SLOWEST_REFERENCE = 2.0
# A sample repeats a call until it takes this long, so that the clock's resolution and jitter do not show.
SAMPLE = 0.01
# Between candidates, until the OpenMP threads of the one before have gone to sleep.
SETTLE = 0.01

Run = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append", choices=list(K.all_kernels()), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="the first shape of each kernel, few samples")
    parser.add_argument("--threads", type=int, help=f"of all candidates alike; {environment.THREADS} by default")
    parser.add_argument("--json", metavar="FILE", help="append the results to a file, one object a line")
    options = parser.parse_args()
    torch = _torch()
    versions = machine.versions(torch)
    roofs = {
        "GB/s": machine.copy_bandwidth(environment.THREADS) / 1e9,
        "GFLOP/s": machine.matmul_rate() / 1e9,
    }
    print_header(versions, roofs, torch)
    for name in options.kernel or K.all_kernels():
        for benchmark in BENCHMARKS[name][: 1 if options.quick else None]:
            records = compare(benchmark, torch, 5 if options.quick else 15)
            print_table(benchmark, records, roofs)
            if options.json:
                append(options.json, benchmark, records, {"roofs": roofs, **versions})


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(environment.THREADS)
    return torch


def compare(benchmark: Benchmark, torch: Any, rounds: int) -> list[dict[str, Any]]:
    """Check the candidates of a kernel at one shape, time them in turns; a record for each."""
    case = benchmark.case()
    candidates = {
        name: ours(benchmark, case, name)
        for name in K.all_kernels()[benchmark.name].implementations
        if worth_timing(benchmark, name)
    }
    if torch is not None:
        candidates |= theirs(benchmark, case, torch)
    samples = take_turns(candidates, rounds)
    amount, unit = work(benchmark, case)
    return [
        {
            "candidate": name,
            "minimum_s": min(times),
            "median_s": statistics.median(times),
            "rate": amount / statistics.median(times) / 1e9,
            "unit": unit,
        }
        for name, times in samples.items()
    ]


def work(benchmark: Benchmark, case: Case) -> tuple[float, str]:
    """What a call does at least, and the unit of its rate: floating operations, or bytes read and written."""
    if benchmark.flops is not None:
        return benchmark.flops, "GFLOP/s"
    results = outputs(result_of(benchmark, case))
    if benchmark.name == "embedding":  # reads as many rows as it writes, not the table
        return 2 * results[0].nbytes, "GB/s"
    return sum(a.nbytes for a in (*case.arrays, *results) if a is not None), "GB/s"


def result_of(benchmark: Benchmark, case: Case) -> Any:
    """What the implementation that the kernel chooses gives."""
    return K.all_kernels()[benchmark.name](*case.arrays, **case.settings)


def worth_timing(benchmark: Benchmark, name: str) -> bool:
    """Check an implementation on fewer rows. Whether to time it: not the reference where that is too slow."""
    kernel, case = K.all_kernels()[benchmark.name], benchmark.check()
    run = functools.partial(kernel[name], *case.arrays, **case.settings)
    assert_matches(kernel, case, run())
    return name != "numpy" or machine.fastest(run, 0.1) * benchmark.times_larger < SLOWEST_REFERENCE


def ours(benchmark: Benchmark, case: Case, name: str) -> Run:
    """A call of one implementation, with a reused output where the kernel has `out`."""
    kernel = K.all_kernels()[benchmark.name]
    arrays, settings = case.arrays, dict(case.settings)
    if benchmark.name == "adamw":  # as an optimizer calls it
        arrays = case.copy().arrays
        settings["out"] = (arrays[0], *arrays[2:])
    elif "out" in inspect.signature(kernel.reference).parameters:
        results = outputs(result_of(benchmark, case))
        received = tuple(np.empty_like(results[i]) for i in RECEIVED_BY_OUT.get(benchmark.name, (0,)))
        settings["out"] = received if len(received) > 1 else received[0]
    run = kernel[name]
    return lambda: run(*arrays, **settings)


def theirs(benchmark: Benchmark, case: Case, torch: Any) -> dict[str, Run]:
    """PyTorch's candidates, after a comparison on fewer rows that they compute the same thing."""
    if benchmark.name not in NOT_COMPARED:
        check = benchmark.check()
        for function in torch_candidates(torch, benchmark.name, check).values():
            results = function()
            results = results if isinstance(results, tuple) else (results,)
            for r, e in zip(results, outputs(result_of(benchmark, check)), strict=False):
                np.testing.assert_allclose(r.detach().numpy(), e, rtol=1e-3, atol=1e-4 * abs(e).max())
    return torch_candidates(torch, benchmark.name, case)


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


def print_header(versions: dict[str, str], roofs: dict[str, float], torch: Any) -> None:
    software = ", ".join(f"{name} {versions[name]}" for name in ("numpy", "numba", "torch") if name in versions)
    print(f"{versions['processor']}, {versions['cores']} cores, {environment.THREADS} threads; {software}")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}): expect lower numbers, also for the roofs")
    print(f"roofs: {roofs['GB/s']:.1f} GB/s copied, {roofs['GFLOP/s']:.0f} GFLOP/s float32 product")
    print("kernels reuse their output (out=), torch makes a fresh one; a rate counts each array once;")
    print("over 100 % of the roof: the arrays stay in the cache; ratios of medians, more is faster")
    if torch is None:
        print("torch is not installed: no comparison with it")


def print_table(benchmark: Benchmark, records: list[dict[str, Any]], roofs: dict[str, float]) -> None:
    medians = {record["candidate"]: record["median_s"] for record in records}
    print(f"\n{benchmark.name} {' x '.join(map(str, benchmark.dims))} ({benchmark.words})")
    print(f"  {'':12}{'min ms':>10}{'median':>10}{'rate':>10} {'':8}{'roof':>6}{'numpy':>9}{'torch':>9}")
    for record in records:
        ratios = "".join(
            f"{medians[other] / record['median_s']:>8.2f}x" if other in medians else f"{'-':>9}"
            for other in ("numpy", "torch")
        )
        share = record["rate"] / roofs[record["unit"]]
        times = f"{record['minimum_s'] * 1e3:>10.3f}{record['median_s'] * 1e3:>10.3f}"
        rate = f"{record['rate']:>10.1f} {record['unit']:8}{share:>6.0%}"
        print(f"  {record['candidate']:12}{times}{rate}{ratios}")


def append(file: str, benchmark: Benchmark, records: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Add one line for each record to the file."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    shape = {"kernel": benchmark.name, "dims": benchmark.dims, "threads": environment.THREADS, "when": when}
    with Path(file).open("a", encoding="utf-8") as lines:
        for record in records:
            lines.write(json.dumps({**shape, **record, **about}) + "\n")


if __name__ == "__main__":
    main()
