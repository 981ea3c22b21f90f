"""The example of a classifier runs, on a few mails of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "spam_filter.py"


@pytest.mark.slow
def test_the_spam_filter_learns_labels_and_goes_on_from_its_own_model(tmp_path: Path) -> None:
    for number in range(60):
        group, words = ("spam-1", "win a prize now") if number % 2 else ("easy-ham-1", "review the patch please")
        file = tmp_path / "data" / group / f"{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"text": f"Subject: x\n\n{words} {number} {words}\n", "group": group}))
    told = filter_spam(tmp_path, "first", "--steps", "30")
    assert "above MultinomialNaiveBayes" in told
    assert "accuracy " in told
    assert "is \\ said" in told
    assert told.rstrip().endswith("could you review it?")
    again = filter_spam(tmp_path, "second", "--steps", "2", "--init", str(tmp_path / "first" / "run"))
    assert "above BernoulliNaiveBayes" in again


def filter_spam(base: Path, name: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "--data", base, "--out", base / name, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
