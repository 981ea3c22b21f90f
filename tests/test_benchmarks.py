"""The benchmarks run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command):
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_quick_run_of_the_tokenizers_compares_and_times(tmp_path):
    file = tmp_path / "results.jsonl"
    text = run("benchmarks/bench_tokenizer.py", "--quick", "--json", str(file))
    assert "encode a line" in text
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {record["task"] for record in records} >= {"learn 1,000 entries", "encode one text", "decode"}
    assert {"candidate", "minimum_s", "median_s", "characters"} <= set(records[0])


class FakeRow:
    goal, share = 2.0, None

    def __str__(self):
        return "an operation"


def answers(ours, eager, compiled):
    """What both processes say, every sample alike: ours in two threads and in one, torch's in two."""
    seconds = {"ours": [ours] * 3, "ours, 1 thread": [1.9 * ours] * 3, "eager": [eager] * 3, "compiled": [compiled] * 3}
    answer = {"seconds": seconds, "flops": 1e6, "moved": 1e9}
    return {"as it comes": answer, "kept": answer}


@pytest.mark.parametrize(("ours", "missed"), [(1.0, []), (1.2, ["ratio"]), (2.4, ["ratio"])])
def test_a_goal_is_met_against_the_faster_of_the_others(monkeypatch, ours, missed):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import reach_table

    machine = {"copy": {"plain": 1e9, "streaming": 2e9}, "product": 1e12}
    record = reach_table.race(FakeRow(), answers(ours, 4.0, 2.2), machine)
    assert record["missed"] == missed
    assert record["kept"]["against"] == "compiled"
    assert record["kept"]["ratio"] == pytest.approx(2.2 / ours)
    assert record["share"] == pytest.approx(0.5 / ours)
    assert record["threads"] == pytest.approx(1.9)
    assert ("**missed**: ratio" in reach_table.row_line(record)) == bool(missed)
    assert record["slower"] == (["as it comes", "kept"] if ours > 2.2 else [])
    assert record["second_thread"]
    assert f"{int(not missed)} of 1 rows met" in reach_table.summary([record])


@pytest.mark.slow
@pytest.mark.oracle
def test_a_race_compares_and_measures(tmp_path):
    file = tmp_path / "reach.jsonl"
    run("benchmarks/bench_reach.py", "lstm, one step", "--rounds", "1", "--json", str(file))
    (record,) = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert record["kept"]["ratio"] > 0
    assert set(record["kept"]["median_s"]) == {"ours", "oneDNN", "without oneDNN", "ours, 1 thread"}
