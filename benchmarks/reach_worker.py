"""The process that measures rows of `bench_reach` when asked: both sides in turns, and the memory that ours holds."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engines import keep_freed_memory

__all__ = ["roofs", "work"]


def work(pipe: Any, threads: int, rounds: int, kept: bool) -> None:
    """Answer with the measurements of the rows, and with the memory of what MEMORY names, until there are no more.

    kept: have the C library keep freed memory, and measure ours in one thread as well.
    """
    if kept:
        keep_freed_memory()
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # or it starts processes of its own
    import torch
    from reach_rows import MEMORY, ROWS

    torch.set_num_threads(threads)
    while (number := pipe.recv()) is not None:
        if number < len(ROWS):
            pipe.send(measure(ROWS[number], torch, rounds, alone=kept))
        else:
            pipe.send(memory(MEMORY[number - len(ROWS)]))


def measure(row: Any, torch: Any, rounds: int, alone: bool) -> dict[str, Any]:
    """The seconds of each candidate of a row, once a round, after a comparison of their results; flops and bytes."""
    from tinylm.bench.timing import take_turns

    torch._dynamo.reset()
    contest = row.prepare(*row.dims)
    candidates = {"ours": contest.ours, **contest.others(torch)}
    if contest.compared:
        compare(candidates)
    if alone:
        candidates["ours, 1 thread"] = in_one_thread(contest.ours)
    flops, moved = amount_of_work(row)
    return {"seconds": take_turns(candidates, rounds), "flops": flops, "moved": moved}


def compare(candidates: dict[str, Callable[[], Any]]) -> None:
    """Raise WrongResultError unless all give what the first gives."""
    from tinylm.bench.checking import assert_roughly_equal
    from tinylm.bench.tolerance import outputs

    results = {name: outputs(run()) for name, run in candidates.items()}
    for result in results.values():
        assert_roughly_equal(tuple(result), results["ours"])


def in_one_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    """The call with one thread for kernels and matrix products."""
    import numba

    def alone() -> Any:
        threads = numba.get_num_threads()
        numba.set_num_threads(1)
        try:
            return run()
        finally:
            numba.set_num_threads(threads)

    return alone


def amount_of_work(row: Any) -> tuple[float, float]:
    """The floating operations and the bytes of a call, as the bench counts those of its kernels."""
    import tinylm_kernels as K
    from tinylm.bench.cases import BENCHMARKS
    from tinylm.bench.tolerance import outputs

    flops, moved = 0.0, row.moved
    for name in row.kernels:
        benchmark = replace(BENCHMARKS[name][0], dims=row.dims)
        case = benchmark.build(*row.dims)
        of_kernel = benchmark.work(case, outputs(getattr(K, name)(*case.arrays, **case.settings)))
        flops, moved = flops + of_kernel[0], moved + of_kernel[1]
    return flops, moved


def memory(goal: Any) -> dict[str, Any]:
    """The bytes that a call holds at most beside its arguments and results, for each of the shapes."""
    return {"held": [peak(goal.prepare(*dims).ours) for dims in goal.dims]}


def peak(run: Callable[[], Any]) -> float:
    """The same of one call, after one that compiles; NaN where the system does not tell."""
    import tinylm_kernels as K
    from tinylm.bench.tolerance import outputs

    run()
    gc.collect()
    K.release_memory()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    except (OSError, AttributeError):
        return float("nan")
    before = _status("VmRSS")
    results: Sequence[Any] = outputs(run())
    return _status("VmHWM") - before - sum(a.nbytes for a in results)


def _status(name: str) -> float:
    """Bytes, from the system's account of this process."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024.0 * int(re.findall(rf"{name}:\s+(\d+)", text)[0])


def roofs(pipe: Any, threads: int) -> None:
    """Answer once with the machine's roofs, and the microseconds that the engine adds to an operation."""
    pipe.recv()
    import bench_overhead

    from tinylm.bench.machine import copy_rates, matmul_rate

    rates = {"copy": copy_rates(threads, 1.0), "copy alone": copy_rates(1, 1.0), "product": matmul_rate(1.0)}
    pipe.send(
        {
            **rates,
            "overhead": {name: added for name, (_, added) in bench_overhead.measure().items()},
            "nodes": bench_overhead.nodes_per_block(),
        }
    )
    pipe.recv()
