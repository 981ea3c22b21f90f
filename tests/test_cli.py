"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinylm.cli import build_parser, main

SMALL = ["steps=10", "layers=1", "heads=2", "width=16", "context=16", "batch_size=4", "warmup=0.2", "validate_every=5"]
SETTINGS = [word for pair in SMALL for word in ("--set", pair)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a text and a trained run."""
    base = tmp_path_factory.mktemp("cli")
    (base / "text.txt").write_text("今天天气很好, the cat sat. " * 80, encoding="utf-8")
    assert main(["train", str(base / "text.txt"), "--out", str(base / "run"), *SETTINGS]) == 0
    return base


def test_train_shows_progress_and_what_to_do_next(folder: Path, capfd) -> None:
    assert main(["train", str(folder / "text.txt"), "--out", str(folder / "second"), "--seed", "1", *SETTINGS]) == 0
    out, err = capfd.readouterr()
    assert "validation loss" in err
    assert "tokens/s" in err
    assert "bits per character" in out
    assert "what it writes:" in out
    assert f"tinylm generate {folder / 'second' / 'best'}" in out


def test_generate_writes_the_same_with_and_without_the_cache(folder: Path, capsys) -> None:
    texts = []
    for extra in ([], ["--no-cache"]):
        assert main(["generate", str(folder / "run"), "the", "--max-tokens", "30", "--seed", "1", *extra]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert texts[0].startswith("the")


def test_next_shows_the_distribution_and_the_chain_rule(folder: Path, capsys) -> None:
    assert main(["next", str(folder / "run"), "今天天气很好", "-k", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("ln p =") == 6
    assert "perplexity" in out


def test_eval_prints_every_metric(folder: Path, capsys) -> None:
    assert main(["eval", str(folder / "run"), str(folder / "text.txt"), "--json", "-"]) == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    metrics = model["metrics"]
    assert all(low <= metrics[name] <= high for name, (low, high) in model["intervals"].items())
    assert set(metrics) == {"loss", "perplexity", "bits_per_token", "bits_per_byte", "accuracy"}
    assert main(["eval", str(folder / "run"), str(folder / "text.txt")]) == 0
    assert "perplexity" in capsys.readouterr().out


def test_runs_lists_shows_and_compares(folder: Path, capsys) -> None:
    root = ["runs", "--root", str(folder)]
    assert main(["train", str(folder / "text.txt"), "--out", str(folder / "third"), "--model", "lstm", *SETTINGS]) == 0
    capsys.readouterr()
    assert main(root) == 0
    listing = capsys.readouterr().out
    assert "run " in listing
    assert "10/10" in listing
    assert main([*root, "show", "run"]) == 0
    assert "val loss" in capsys.readouterr().out
    assert main([*root, "diff", "run", "third"]) == 0
    assert "lstm" in capsys.readouterr().out
    assert main(["runs", "--root", str(folder / "nowhere")]) == 0
    assert "tinylm train" in capsys.readouterr().out


def test_doctor_names_versions_and_kernels(capsys) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "numpy" in out
    assert "attention_backward" in out


def test_a_settings_file_is_read_and_overridden(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("steps = 3\nlayers = 1\nwidth = 8\nheads = 2\n", encoding="utf-8")
    arguments = ["train", str(folder / "text.txt"), "--config", str(tmp_path / "s.toml"), "--set", "steps=4"]
    assert main([*arguments, "--set", "context=8", "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert (config["steps"], config["width"]) == (4, 8)


MISTAKES = {
    "no such folder": (["generate", "{folder}/nothing", "a"], "there is no such model folder"),
    "unknown setting": (["train", "{folder}/text.txt", "--set", "widht=3"], "did you mean 'width'"),
    "not an assignment": (["train", "{folder}/text.txt", "--set", "width"], "name=value"),
    "unknown preset": (["train", "{folder}/text.txt", "--preset", "huge"], "nanogpt-cpu"),
    "unknown character": (["next", "{folder}/run", "Zebra"], "U+005A"),
    "no text": (["eval", "{folder}/run", "{folder}/missing.txt"], "missing.txt"),
    "folder in use": (["train", "{folder}/text.txt", "--out", "{folder}/run"], "--resume"),
    "no run": (["runs", "--root", "{folder}", "show", "nothing"], "no run folder 'nothing'"),
    "wrong limit": (["generate", "{folder}/run", "the", "--top-p", "3"], "top_p is 3"),
    "settings file": (["train", "--config", "{folder}/none.toml"], "none.toml"),
    "settings kind": (["train", "--config", "{folder}/text.txt"], ".toml or .json"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(folder: Path, capsys, name: str) -> None:
    arguments, words = MISTAKES[name]
    assert main([argument.format(folder=folder) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not out


def test_an_unwritable_output_is_told_in_one_line(folder: Path, capsys) -> None:
    (folder / "file").write_text("not a folder", encoding="utf-8")
    assert main(["train", str(folder / "text.txt"), "--out", str(folder / "file" / "run"), *SETTINGS]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 2


def test_every_command_has_help(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args(["train", "--help"])
    assert end.value.code == 0
    assert "--preset" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_says_how_to_go_on(folder: Path, tmp_path: Path, number: int) -> None:
    run = tmp_path / "run"
    arguments = [sys.executable, "-m", "tinylm", "train", str(folder / "text.txt"), "--out", str(run), *SETTINGS]
    process = subprocess.Popen(
        [*arguments, "--set", "steps=100000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 100
        while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert f"--resume {run}" in out
    assert list((run / "checkpoints").iterdir())
