"""What the CPU kernels shall reach, and what they do: every goal beside its measurement, met or missed.

    python benchmarks/bench_reach.py                                   # every row, some minutes
    python benchmarks/bench_reach.py softmax attention --rounds 5      # rows whose names begin so
    python benchmarks/bench_reach.py --json reach.jsonl --markdown reach.md

Each row is a race of ours against PyTorch eager and PyTorch compiled (torch.compile, for the one shape); the ratio is
the time of the faster over ours. All candidates of a row take turns in one process. There are two such processes, which
take turns row by row: one with the C library's allocator as it comes, one with freed memory kept (as
`tinylm.prepare_process` sets it, for PyTorch too). PyTorch makes fresh results; ours come from the pool of the kernels,
as in the engine. Ratios are of medians, those of minima stand beside them. A row is met where the ratio in the first
process is (of softmax, its share of the roof as well); what the second thread shall give has a column of its own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environment
import reach_worker
from engines import Engine
from reach_table import TITLES, engine_promises, heading, held, race, row_line, summary

from tinylm.bench.machine import versions

PROCESSES = {"as it comes": False, "kept": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="the beginnings of the names of rows; all by default")
    parser.add_argument("--threads", type=int, default=environment.THREADS)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each candidate")
    parser.add_argument("--json", metavar="FILE", help="append the measurements to a file, one object a line")
    parser.add_argument("--markdown", metavar="FILE", help="write the table")
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        parser.error("torch is not installed, and what it takes is what the goals are made of")
    about = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": options.threads,
        **versions("torch"),
    }
    machine = ask_once(options.threads)
    lines = [heading(about, machine), *TITLES]
    print(*lines, sep="\n")
    found = []
    for record in records(options, machine):
        found.append(record)
        print(line := row_line(record), flush=True)
        lines.append(line)
        if options.json:
            with Path(options.json).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**record, **about, "machine": machine}) + "\n")
    lines += ["", summary(found)]
    print(*lines[-2:], sep="\n")
    if options.markdown:
        Path(options.markdown).write_text("\n".join(lines) + "\n", encoding="utf-8")


def ask_once(threads: int) -> dict[str, Any]:
    """The machine's roofs and the engine's overhead, from a process of their own."""
    engine = Engine(reach_worker.roofs, threads)
    found = engine.ask(0)
    engine.close()
    return found


def records(options: argparse.Namespace, machine: dict[str, Any]) -> Any:
    """For each row and each promise what was measured and whether it meets its goal."""
    from reach_rows import MEMORY, ROWS

    chosen = [
        i
        for i, row in enumerate([*ROWS, *MEMORY])
        if not options.rows or any(row.name.startswith(name) for name in options.rows)
    ]
    engines = {
        name: Engine(reach_worker.work, options.threads, options.rounds, kept) for name, kept in PROCESSES.items()
    }
    for number in chosen:
        if number < len(ROWS):
            answers = {name: engine.ask(number) for name, engine in engines.items()}
            yield race(ROWS[number], answers, machine)
        else:
            goal = MEMORY[number - len(ROWS)]
            yield held(goal, engines["as it comes"].ask(number)["held"])
    if not options.rows:
        yield from engine_promises(machine)
    for engine in engines.values():
        engine.close()


if __name__ == "__main__":
    main()
