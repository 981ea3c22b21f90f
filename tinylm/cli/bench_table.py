"""Comparisons of kernels in a table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinylm.bench import Comparison, Roofs

__all__ = ["print_header", "print_table"]

BESIDE = ("numpy", "torch")


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


def print_table(comparison: Comparison, roofs: Roofs) -> None:
    """A row for each candidate, and what was left out."""
    seconds, binding = roofs.least_time(comparison.flops, comparison.moved)
    print(f"\n{comparison.benchmark} ({comparison.benchmark.words}): {binding} binds, {seconds * 1e3:.3f} ms at least")
    print(f"  {'':12}{'min ms':>10}{'median':>10}{'GFLOP/s':>9}{'GB/s':>8}{'roof':>7}", end="")
    print("".join(f"{f'x {other}':>9}" for other in BESIDE))
    medians = {m.candidate: m.median for m in comparison.measured}
    for record in comparison.records(roofs):
        median = record["median_s"]
        times = f"{record['minimum_s'] * 1e3:>10.3f}{median * 1e3:>10.3f}"
        rates = f"{record['gflop_per_s']:>9.1f}{record['gb_per_s']:>8.1f}{record['roof_share']:>7.0%}"
        ratios = "".join(f"{medians[o] / median:>9.2f}" if o in medians else f"{'-':>9}" for o in BESIDE)
        print(f"  {record['candidate']:12}{times}{rates}{ratios}")
    for name, slow in comparison.slow.items():
        print(f"  {name:12}left out: some {slow:.0f} s a call")
    for name, complaint in comparison.wrong.items():
        print(f"  {name:12}WRONG: {complaint}")
