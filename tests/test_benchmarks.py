"""The benchmarks know every kernel, and run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tinylm_kernels as K
from tinylm.bench import cases, rivals

ROOT = Path(__file__).parent.parent


def run(*command):
    result = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_kernel_has_realistic_shapes_and_a_counterpart_in_torch():
    for name in K.all_kernels():
        assert cases.BENCHMARKS.get(name), f"add shapes of {name} to tinylm/bench/cases.py"
        assert name == "adamw" or hasattr(rivals, name), f"add {name} to tinylm/bench/rivals.py"


@pytest.mark.slow
def test_a_quick_run_checks_times_and_appends_its_results(tmp_path):
    file = tmp_path / "results.jsonl"
    text = run("benchmarks/bench_kernels.py", "--quick", "--kernel", "gelu", "--kernel", "lstm", "--json", str(file))
    assert "gelu 4096 x 1536" in text
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {record["kernel"] for record in records} == {"gelu", "lstm"}
    assert {"candidate", "minimum_s", "median_s", "rate", "unit", "threads", "roofs"} <= set(records[0])


@pytest.mark.slow
def test_a_quick_run_of_the_tokenizers_compares_and_times(tmp_path):
    file = tmp_path / "results.jsonl"
    text = run("benchmarks/bench_tokenizer.py", "--quick", "--json", str(file))
    assert "encode a line" in text
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {record["task"] for record in records} >= {"learn 1,000 entries", "encode one text", "decode"}
    assert {"candidate", "minimum_s", "median_s", "characters"} <= set(records[0])
