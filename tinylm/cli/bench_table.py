"""Comparisons of kernels in a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.bench import Comparison, Roofs

__all__ = ["print_header", "print_lessons", "print_table"]

BESIDE = ("numpy", "torch")
BESIDE_LADDER = ("v0_loops", "numpy", "torch")


def print_header(about: dict[str, Any], roofs: Roofs) -> None:
    """What the numbers depend on, and how to read them."""
    software = ", ".join(f"{name} {about[name]}" for name in ("numpy", "numba", "torch") if name in about)
    print(f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; {software}")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1:
        print(f"the machine is busy (load {os.getloadavg()[0]:.1f}): expect lower numbers, also for the roofs")
    print(f"roofs: {roofs.bandwidth / 1e9:.1f} GB/s copied, {roofs.product / 1e9:.0f} GFLOP/s in a float32 product")
    print("roof: the share of the least time that they allow; above 100 % where the arrays stay in the cache")
    print("ratios of medians, more is faster; kernels reuse their output (out=), torch makes a fresh one")
    if "torch" not in about:
        print("torch is not installed: no comparison with it")


def print_lessons(kernel: str) -> None:
    """What each rung of a kernel's ladder does, in a line."""
    from tinylm.bench import lessons

    print(f"\n{kernel}, step by step")
    for rung, lesson in lessons(kernel).items():
        print(f"  {rung:15}{lesson.splitlines()[0]}")


def print_table(comparison: Comparison, roofs: Roofs, beside: Sequence[str] = BESIDE) -> None:
    """A row for each candidate, with the ratios to those in `beside`, and what was left out."""
    seconds, binding = roofs.least_time(comparison.flops, comparison.moved)
    print(f"\n{comparison.benchmark} ({comparison.benchmark.words}): {binding} binds, {seconds * 1e3:.3f} ms at least")
    names = [*(m.candidate for m in comparison.measured), *comparison.slow, *comparison.failed, *comparison.wrong]
    width = max(12, *(len(name) + 1 for name in names))
    print(f"  {'':{width}}{'min ms':>10}{'median':>10}{'GFLOP/s':>9}{'GB/s':>8}{'roof':>7}", end="")
    print("".join(f"{f'x {other}':>{_column(other)}}" for other in beside))
    medians = {m.candidate: m.median for m in comparison.measured}
    for record in comparison.records(roofs):
        median = record["median_s"]
        times = f"{record['minimum_s'] * 1e3:>10.3f}{median * 1e3:>10.3f}"
        rates = f"{record['gflop_per_s']:>9.1f}{record['gb_per_s']:>8.1f}{record['roof_share']:>7.0%}"
        shown = (f"{medians[o] / median:.2f}" if o in medians else "-" for o in beside)
        ratios = "".join(f"{ratio:>{_column(other)}}" for ratio, other in zip(shown, beside, strict=True))
        print(f"  {record['candidate']:{width}}{times}{rates}{ratios}")
    for name, slow in comparison.slow.items():
        print(f"  {name:{width}}left out: some {slow:.0f} s a call")
    for name, reason in comparison.failed.items():
        print(f"  {name:{width}}left out: {reason}")
    for name, complaint in comparison.wrong.items():
        print(f"  {name:{width}}WRONG: {complaint}")


def _column(other: str) -> int:
    return max(9, len(other) + 4)
