"""The best run among those that can be compared, and the removal of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.training import RunFolder, list_runs, rank_runs


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def add_run(root: Path, name: str, losses: list[float | None], *, data: str = "a", **settings) -> RunFolder:
    run = RunFolder.create(root / name, {"tokenizer": "chars", "steps": 9, **settings}, data_fingerprint=data)
    for step, loss in enumerate(losses, 1):
        validated = {} if loss is None else {"val_loss": loss, "val_bits_per_byte": 2 * loss, "val_accuracy": 1 / loss}
        run.append_metrics({"step": step, "train_loss": 1.0, **validated})
    return run


def order(runs: list[RunFolder], metric: str | None = None) -> list[tuple[str, list[str]]]:
    return [(r.metric, [run.path.name for *_, run in r.entries]) for r in rank_runs(runs, metric)]


def test_runs_on_one_text_are_ranked_by_their_best_loss(tmp_path: Path) -> None:
    runs = [add_run(tmp_path, "a", [3.0, 1.5, 1.7]), add_run(tmp_path, "b", [2.0, 1.2]), add_run(tmp_path, "c", [None])]
    assert order(runs) == [("loss", ["b", "a"])]
    assert order(runs, "accuracy") == [("accuracy", ["b", "a"])]
    [ranking] = rank_runs(runs)
    assert ranking.entries[0][:2] == (1.2, 2)
    assert rank_runs([]) == []


def test_other_tokenizers_are_compared_by_bits_per_byte_and_other_texts_not_at_all(tmp_path: Path) -> None:
    runs = [
        add_run(tmp_path, "chars", [1.5]),
        add_run(tmp_path, "bytes", [1.4], tokenizer="bytes"),
        add_run(tmp_path, "other", [0.1], data="b"),
        add_run(tmp_path, "half", [0.2], validation=0.5),
    ]
    assert order(runs) == [("bits_per_byte", ["bytes", "chars"]), ("loss", ["other"]), ("loss", ["half"])]
    with pytest.raises(TinylmError, match="tokenizers of these runs differ; take bits_per_byte"):
        rank_runs(runs, "loss")
    with pytest.raises(TinylmError, match="did you mean 'accuracy'"):
        rank_runs(runs[2:], "acuracy")


def test_the_command_shows_the_best_first(tmp_path: Path, capsys) -> None:
    add_run(tmp_path, "a", [3.0, 1.5])
    add_run(tmp_path, "b", [1.2])
    root = ["runs", "--root", str(tmp_path)]
    assert main([*root, "best"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["b", "1.2000", "1", "interrupted"]
    add_run(tmp_path, "c", [1.0], data="b")
    assert main([*root, "best", "--metric", "accuracy"]) == 0
    assert "on text 2 of 2:" in capsys.readouterr().out
    assert main(["runs", "--root", str(tmp_path / "none"), "best"]) == 0
    assert "no run" in capsys.readouterr().out


def test_rm_shows_and_only_with_yes_removes(tmp_path: Path, capsys) -> None:
    for name, loss in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        add_run(tmp_path, name, [loss])
    add_run(tmp_path, "unknown", [None])
    root = ["runs", "--root", str(tmp_path)]
    assert main([*root, "rm", "--keep-best", "1"]) == 0
    out = capsys.readouterr().out
    assert f"would remove {tmp_path / 'c'}" in out
    assert "--yes" in out
    assert len(list_runs(tmp_path)) == 4
    assert main([*root, "rm", "--keep-best", "1", "--yes"]) == 0
    assert [run.name for run in list_runs(tmp_path)] == ["b", "unknown"]
    assert main([*root, "rm", "unknown", str(tmp_path / "b"), "--yes"]) == 0
    assert os.listdir(tmp_path) == []
    assert main([*root, "rm", "--keep-best", "1"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_what_runs_and_what_is_no_run_is_never_removed(tmp_path: Path, capsys) -> None:
    running, model = add_run(tmp_path, "running", [5.0]), tmp_path / "model"
    add_run(tmp_path, "best", [1.0])
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")  # a model folder has one as well
    (tmp_path / "link").symlink_to(running.path, target_is_directory=True)
    root = ["runs", "--root", str(tmp_path)]
    with running.lock():
        for name, words in (("running", "trains in it"), ("model", "no run folder"), ("nothing", "no run folder")):
            assert main([*root, "rm", name, "--yes"]) == 2
            assert words in capsys.readouterr().err
        assert main([*root, "rm", "--keep-best", "1", "--yes"]) == 0
        assert "nothing to remove" in capsys.readouterr().out
    assert main([*root, "rm", "link", "--yes"]) == 2
    for wrong in (["rm"], ["rm", "best", "--keep-best", "1"], ["rm", "--keep-best", "0"]):
        assert main([*root, *wrong, "--yes"]) == 2
    assert running.path.is_dir()
    assert model.is_dir()


def test_what_a_kill_left_of_a_removal_is_no_run_and_goes_with_the_next(tmp_path: Path, monkeypatch) -> None:
    import shutil

    first, second = add_run(tmp_path, "a", [1.0]), add_run(tmp_path, "b", [1.0])
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first.remove()
    assert [run.name for run in list_runs(tmp_path)] == ["b"]
    assert len(os.listdir(tmp_path)) == 2
    second.remove()
    assert os.listdir(tmp_path) == []
