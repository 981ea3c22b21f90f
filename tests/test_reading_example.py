"""The example of reading runs, on a few contexts, and its data set says where answers stand."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def reading(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("reading")


def test_answers_stand_where_the_generated_set_says(reading, tmp_path: Path) -> None:
    file = reading.write(tmp_path / "facts.json", 40)
    paragraphs = json.loads(file.read_text(encoding="utf-8"))["data"][0]["paragraphs"]
    questions = [(paragraph["context"], question) for paragraph in paragraphs for question in paragraph["qas"]]
    for context, question in questions:
        assert question["is_impossible"] == (not question["answers"])
        for answer in question["answers"]:
            assert context[answer["answer_start"] :].startswith(answer["text"])
    assert len({question["id"] for _, question in questions}) == len(questions) == 200
    assert 0.3 < sum(question["is_impossible"] for _, question in questions) / len(questions) < 0.5


@pytest.mark.slow
def test_it_is_measured_beside_the_baseline_and_goes_on_from_its_own_model(tmp_path: Path) -> None:
    small = ["--contexts", "30", "--steps", "2", "--set", "width=16", "--set", "heads=2"]
    assert "the nearest words of 15 questions: exact" in read(tmp_path, "first", *small)
    again = ["--init", tmp_path / "first" / "run", "--data", tmp_path / "first" / "facts.json", "--steps", "2"]
    assert "the model" in read(tmp_path, "second", *again)


def read(base: Path, name: str, *options: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "reading.py", "--out", base / name, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
