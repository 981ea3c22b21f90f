"""tinylm bench: how fast the kernels are on this machine, and whether a user's own are right."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinylm.errors import TinylmError, nearest
from tinylm.extras import check_folder, check_plot_file
from tinylm.process import limit_threads, usable_threads

if TYPE_CHECKING:
    from tinylm.bench import Benchmark, Comparison, Roofs

__all__ = ["add_to", "run"]

# How often the candidates take turns, and the seconds that each roof is measured.
ROUNDS, ROOF = {False: 15, True: 5}, {False: 1.0, True: 0.3}


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "bench",
        help="check and time kernels against this machine's roofs",
        description="Check every implementation of the kernels at realistic shapes, then time them in turns, beside "
        "PyTorch where it is installed, and show the share of what this machine can do at most. Ends with status 2 "
        "where an implementation is wrong.",
    )
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help="all, or those of --module, by default")
    parser.add_argument("--list", action="store_true", help="show kernels, implementations and shapes; time nothing")
    parser.add_argument("--module", metavar="FILE", help="a Python file that registers implementations of your own")
    parser.add_argument(
        "--ladder", action="store_true", help="softmax, attention, lstm and linear step by step, from plain loops on"
    )
    parser.add_argument("--compile", action="store_true", help="time torch.compile too, which takes seconds a shape")
    parser.add_argument("--quick", action="store_true", help="the first shape of each kernel, few samples")
    parser.add_argument("--threads", type=int, metavar="N", help="of all candidates alike (all cores)")
    parser.add_argument("--json", metavar="FILE", help="append the results to a file, one JSON object a line")
    parser.add_argument("--plot", metavar="FILE", help="draw a roofline into a PNG, SVG or PDF file")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the list, or check and time."""
    if options.plot:
        check_plot_file(options.plot)
    if options.json:
        check_folder(options.json)
    if options.threads is not None:
        if options.threads < 1:
            raise TinylmError(f"--threads takes a number from 1 on, received {options.threads}")
        limit_threads(options.threads)
    threads = usable_threads()
    from tinylm.bench import BENCHMARKS, LADDERS, import_implementations, load_ladders, measure_roofs, save_roofline

    theirs = import_implementations(options.module) if options.module else []
    names = _chosen(options.kernels or theirs or (LADDERS if options.ladder else []), BENCHMARKS)
    if options.ladder:
        load_ladders(names)
    if options.list:
        return _print_list(_benchmarks(names, options))
    torch = _torch(threads)
    if options.compile and torch is None:
        raise TinylmError("--compile needs torch, which is not installed")
    about = _about(threads, ["torch"] if torch is not None else [])
    roofs = measure_roofs(threads, ROOF[options.quick])
    comparisons = _compare(_benchmarks(names, options), options, torch, roofs, about)
    if options.plot:
        save_roofline(options.plot, comparisons, roofs)
        print(f"\ndrawn into {options.plot}")
    wrong = dict.fromkeys(f"{c.benchmark.name}[{name!r}]" for c in comparisons for name in c.wrong)
    if wrong:
        raise TinylmError(f"wrong: {', '.join(wrong)}; see above")


def _chosen(names: Sequence[str], there: dict[str, Any]) -> list[str]:
    """The kernels of these names, all if none is named."""
    import tinylm_kernels

    for name in names:
        if name not in tinylm_kernels.all_kernels():
            raise TinylmError(f"there is no kernel {name!r}{nearest(name, there)}")
        if name not in there:
            raise TinylmError(f"the kernel {name} has no shapes to be timed at; see tinylm.bench.shapes")
    return list(dict.fromkeys(names)) or sorted(there)


def _benchmarks(names: Sequence[str], options: argparse.Namespace) -> dict[str, list[Benchmark]]:
    """The shapes to time each kernel at."""
    from tinylm.bench import BENCHMARKS, steps

    found = {name: steps(name) if options.ladder else BENCHMARKS[name] for name in names}
    return {name: benchmarks[:1] for name, benchmarks in found.items()} if options.quick else found


def _print_list(benchmarks: dict[str, list[Benchmark]]) -> None:
    import tinylm_kernels
    from tinylm.bench.cases import size

    for name, shapes in benchmarks.items():
        print(name)
        for implementation in tinylm_kernels.all_kernels()[name].implementations.values():
            dtypes = " ".join(implementation.dtypes or ["any dtype"])
            print(f"  {implementation.name:<14} {dtypes}, {implementation.device or 'any device'}")
        print(f"  at {'; '.join(f'{size(b.dims)} ({b.words})' for b in shapes)}")


def _torch(threads: int) -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def _about(threads: int, packages: Sequence[str]) -> dict[str, Any]:
    """What the numbers depend on."""
    from tinylm.bench.machine import versions

    return {"threads": threads, "when": datetime.now(UTC).isoformat(timespec="seconds"), **versions(*packages)}


def _compare(
    benchmarks: dict[str, list[Benchmark]],
    options: argparse.Namespace,
    torch: Any,
    roofs: Roofs,
    about: dict[str, Any],
) -> list[Comparison]:
    """Compare at every shape; print and append what comes of it at once."""
    from tinylm.bench import compare

    from ..bench_table import BESIDE, BESIDE_LADDER, print_header, print_lessons, print_table

    print_header(about, roofs)
    comparisons = []
    for name, shapes in benchmarks.items():
        if options.ladder:
            print_lessons(name)
        for benchmark in shapes:
            found = compare(benchmark, torch, ROUNDS[options.quick], compiled=options.compile)
            comparisons.append(found)
            print_table(found, roofs, BESIDE_LADDER if options.ladder else BESIDE)
            sys.stdout.flush()
            if options.json:
                _append(options.json, found.records(roofs), about)
    return comparisons


def _append(path: str, records: Sequence[dict[str, Any]], about: dict[str, Any]) -> None:
    with Path(path).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**record, **about}) + "\n" for record in records)
