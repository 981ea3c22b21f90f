"""The verdicts of `bench_reach`: what was measured beside its goal, met or missed, in the lines of a table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

__all__ = ["TITLES", "engine_promises", "heading", "held", "race", "row_line", "summary"]

OVERHEAD, NODES = 3.0, 8  # microseconds an operation, graph nodes a Transformer block
FASTER, SHARE = 1.8, 0.85  # with two threads where compute binds; of the roof where memory does
ONE_THREAD = 400_000  # bytes: kernels do not start a second thread for less work


def race(row: Any, answers: dict[str, dict[str, Any]], machine: dict[str, Any]) -> dict[str, Any]:
    """A row's ratios, its share of the roof and what the second thread gives.

    missed: which goals of the row; slower: in which processes another was faster; second_thread: whether it gives what
    it shall, None where a call is too short for one.
    """
    record: dict[str, Any] = {"row": str(row), "goal": row.goal, "missed": [], "slower": []}
    for process, answer in answers.items():
        medians = {name: statistics.median(s) for name, s in answer["seconds"].items()}
        minima = {name: min(s) for name, s in answer["seconds"].items()}
        other = min(
            (name for name in medians if not name.startswith("ours") or "apart" in name), key=medians.__getitem__
        )
        ratio, of_minima = medians[other] / medians["ours"], minima[other] / minima["ours"]
        record[process] = {"ratio": ratio, "ratio of minima": of_minima, "against": other, "median_s": medians}
        record[process]["minimum_s"] = minima
        if ratio < 1:
            record["slower"].append(process)
    if record["as it comes"]["ratio"] < row.goal:
        record["missed"].append("ratio")
    kept = answers["kept"]
    record["threads"] = record["kept"]["median_s"]["ours, 1 thread"] / record["kept"]["median_s"]["ours"]
    best = max(machine["copy"].values())
    least = max(kept["moved"] / best, kept["flops"] / machine["product"])
    record["share"] = least / record["kept"]["median_s"]["ours"]
    record["binds"] = "memory" if kept["moved"] / best >= least else "compute"
    if row.share and record["share"] < row.share:
        record["missed"].append("share")
    record["second_thread"] = None
    if kept["moved"] >= ONE_THREAD:
        at_the_roof = record["binds"] == "memory" and record["share"] >= SHARE
        record["second_thread"] = record["threads"] >= FASTER or at_the_roof
    return record


def held(goal: Any, measured: list[float]) -> dict[str, Any]:
    """A promise of memory."""
    words = f"{goal.name}, memory, {'; '.join(' x '.join(map(str, d)) for d in goal.dims)}"
    return {
        "row": words,
        "goal": goal.goal,
        "megabytes": [m / 1e6 for m in measured],
        "missed": [] if goal.met(measured) else ["memory"],
    }


def engine_promises(machine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The overhead of an operation and the nodes of a block."""
    worst = max(added for added in machine["overhead"].values() if added is not None)
    yield {
        "row": "engine, added to an operation",
        "goal": f"at most {OVERHEAD:g} us",
        "measured": f"{worst:.2f} us",
        "missed": [] if worst <= OVERHEAD else ["overhead"],
    }
    yield {
        "row": "engine, graph nodes of a Transformer block",
        "goal": f"at most {NODES}",
        "measured": str(machine["nodes"]),
        "missed": [] if machine["nodes"] <= NODES else ["nodes"],
    }


TITLES = (
    "| row | ours, ms / kept | goal | ratio | minima | against | kept: ratio | minima | against | roof | threads | |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
)


def row_line(record: dict[str, Any]) -> str:
    """A line of the table, in Markdown, which is readable as it stands."""
    verdict = f"**missed**: {', '.join(record['missed'])}" if record["missed"] else "met"
    if "kept" not in record:
        measured = record.get("measured") or ", ".join(f"{m:.1f} MB" for m in record["megabytes"])
        return f"| {record['row']} | | {record['goal']} | {measured} | | | | | | | | {verdict} |"
    comes, kept = record["as it comes"], record["kept"]
    threads = "" if record["second_thread"] is None else f"{record['threads']:.2f}"
    if record["second_thread"] is False:
        threads += " **missed**"
    share = f"{record['share']:.0%} {record['binds']}" if record["share"] else ""
    ratios = " | ".join(f"{_ratio(r['ratio'])} | {r['ratio of minima']:.2f} | {r['against']}" for r in (comes, kept))
    milliseconds = " / ".join(f"{r['median_s']['ours'] * 1e3:.3g}" for r in (comes, kept))
    return f"| {record['row']} | {milliseconds} | {record['goal']:g} | {ratios} | {share} | {threads} | {verdict} |"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f} slower**"


def summary(records: list[dict[str, Any]]) -> str:
    """How many goals are met, in words."""
    met = sum(not r["missed"] for r in records)
    asked = [r["second_thread"] for r in records if r.get("second_thread") is not None]
    slower = [f"{r['row']} ({', '.join(r['slower'])})" for r in records if r.get("slower")]
    return (
        f"{met} of {len(records)} rows met; the second thread gives what it shall in {sum(asked)} of {len(asked)}. "
        f"Slower than another: {'; '.join(slower) or 'none'}."
    )


def heading(about: dict[str, Any], machine: dict[str, Any]) -> str:
    """The machine and its roofs in words."""
    software = ", ".join(f"{name} {about[name]}" for name in ("python", "numpy", "numba", "torch") if name in about)
    copies = ", ".join(f"{name} {rate / 1e9:.1f}" for name, rate in machine["copy"].items())
    alone = max(machine["copy alone"].values()) / 1e9
    return (
        f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; {software}; {about['when']}.\n"
        f"Copied, GB/s read and written: {copies}; in one thread {alone:.1f}. "
        f"Float32 product: {machine['product'] / 1e9:.0f} GFLOP/s.\n"
    )
