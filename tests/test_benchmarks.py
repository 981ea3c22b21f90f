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
