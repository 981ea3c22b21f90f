"""The examples that learn to write, to answer and to talk run, on a few data of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.slow


def run(base: Path, name: str, *options: str, status: int = 0) -> str:
    """What an example prints; where it ends with another status than 0, what it says then."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, "--out", base / "out", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def test_poems_are_written_and_compared_with_those_that_were_learnt(tmp_path: Path) -> None:
    lines = [
        "白日依山尽\uff0c黄河入海流。",
        "欲穷千里目\uff0c更上一层楼。",
        "床前明月光\uff0c疑是地上霜。",
        "举头望明月\uff0c低头思故乡。",
    ]
    poems = [f"《登楼{n}》\n作者\uff1a李白\n{lines[n % 4]}\n{lines[(n // 4) % 4]}\n" for n in range(40)]
    (tmp_path / "poems.u8").write_text("%\n".join(poems), encoding="utf-8")
    told = run(tmp_path, "poems.py", "--data", str(tmp_path / "poems.u8"), "--steps", "3", "--title", "登楼")
    assert "bits per character" in told
    assert "\n\n《登楼》\n" in told
    assert "poems have lines of five or of seven characters throughout" in told


def test_trivia_is_measured_beside_the_nearest_question(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} and {m}?", "answer": str(n + m)} for n in range(8) for m in range(8)]
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    small = ("--data", str(data), "--steps", "3", "--set", "vocab_size=300", "--set", "width=16")
    told = run(tmp_path, "trivia.py", *small)
    assert "16 questions, of which none is among the 48 learnt" in told
    assert "the model              exact_match" in told
    assert "the nearest question's exact_match" in told
    model = tmp_path / "out" / "run"
    told = run(tmp_path / "second", "trivia.py", "--data", str(data), "--steps", "2", "--init", str(model))
    assert "before it learnt       exact_match" in told


def test_a_chatbot_answers_what_it_is_told(tmp_path: Path) -> None:
    rows = [{"messages": [f"Hello {n}", f"Hi {n}", "Bye", "See you"]} for n in range(40)]
    data = tmp_path / "talks.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    small = ("--data", str(data), "--steps", "3", "--set", "vocab_size=300", "--set", "width=16")
    told = run(tmp_path, "chatbot.py", *small, "--say", "Hello 3", "--say", "Bye")
    assert "the model         " in told
    assert "bits per byte" in told
    assert "> Hello 3\n" in told
    assert "> Bye\n" in told
    model = tmp_path / "out" / "run"
    told = run(tmp_path / "second", "chatbot.py", "--data", str(data), "--steps", "2", "--init", str(model))
    assert "before it learnt  " in told


@pytest.mark.parametrize("name", ["poems.py", "trivia.py", "chatbot.py"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    assert "nowhere" in run(tmp_path, name, "--data", str(tmp_path / "nowhere.jsonl"), status=1)
