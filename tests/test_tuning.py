"""Hyper-parameter search: what is drawn, what is kept, and that a search goes on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import tinylm
from tinylm.cli import main
from tinylm.errors import FileFormatError, TinylmError
from tinylm.tasks import resolve_settings
from tinylm.training import list_runs
from tinylm.tuning import Choices, Range, parse_space, resume_tuning, tune
from tinylm.tuning.space import default_space, read_space

optuna = pytest.importorskip("optuna")
# Optuna tells of its experimental parts.
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 16, "batch_size": 4, "validate_every": 2, "steps": 6}
SPACE = {"learning_rate": (1e-4, 1e-1), "dropout": [0.0, 0.2]}


def test_the_best_of_all_trials_is_kept_and_opens(text: Path, tmp_path: Path) -> None:
    told: list[str] = []
    found = tune(text, trials=4, space=SPACE, out=tmp_path / "out", notify=told.append, **SMALL)
    finished = [trial for trial in found.trials if trial.state == "finished"]
    assert found.best is not None
    assert found.best.value == min(trial.value for trial in finished)
    assert all(1e-4 <= trial.settings["learning_rate"] <= 1e-1 for trial in found.trials)
    assert {trial.settings["dropout"] for trial in found.trials} <= {0.0, 0.2}
    runs = list_runs(tmp_path / "out" / "trials")
    assert [run.best_val_loss for run in runs] == [pytest.approx(trial.value) for trial in found.trials]
    assert [path.parent.name for path in (tmp_path / "out" / "trials").glob("*/best")] == [f"{found.best.number:04d}"]
    kept = tinylm.load(tmp_path / "out")
    assert kept.evaluate([text])["loss"] == tinylm.load(tmp_path / "out" / "best").evaluate([text])["loss"]
    assert len(told) == 4
    lines = found.table().splitlines()
    assert lines[0].split() == ["trial", "loss", "learning_rate", "dropout", "steps", "seconds"]
    assert lines[1].split()[0] == str(found.best.number)


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(text: Path, tmp_path: Path) -> None:
    whole = tune(text, trials=4, space=SPACE, out=tmp_path / "whole", **SMALL)
    tune(text, trials=2, space=SPACE, out=tmp_path / "parts", **SMALL)
    parts = resume_tuning(tmp_path / "parts", trials=4)
    assert [trial.settings for trial in parts.trials] == [trial.settings for trial in whole.trials]
    assert [trial.value for trial in parts.trials] == [trial.value for trial in whole.trials]


def test_a_trial_that_does_worse_than_others_ends_early(text: Path, tmp_path: Path) -> None:
    found = tune(text, trials=12, space={"learning_rate": (1e-6, 3e-2)}, out=tmp_path / "out", **SMALL | {"steps": 10})
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.step < 10 for trial in pruned)
    assert found.ranked[-1].state == "pruned"


def test_an_interrupted_trial_is_begun_again(text: Path, tmp_path: Path, monkeypatch) -> None:
    def interrupt(trial: int, step: int) -> None:
        if (trial, step) == (1, 4):
            os.kill(os.getpid(), signal.SIGINT)

    report = optuna.trial.Trial.report

    def interrupted(self, value: float, step: int) -> None:
        interrupt(self.number, step)
        report(self, value, step)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "report", interrupted)
        found = tune(text, trials=3, space=SPACE, out=tmp_path / "out", **SMALL)
    assert [trial.state for trial in found.trials] == ["finished", "interrupted"]
    assert found.stopped == "interrupted"
    more = resume_tuning(tmp_path / "out", trials=3)
    assert [trial.state for trial in more.trials] == ["finished", "interrupted", "finished", "finished"]
    assert more.trials[2].settings == found.trials[1].settings


def test_what_a_killed_process_was_at_is_begun_again(text: Path, tmp_path: Path, monkeypatch) -> None:
    def die(*arguments) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tinylm.tuning.search._Search._end", die)  # as if nobody had put down how it ended
        with pytest.raises(KeyboardInterrupt):
            tune(text, trials=1, space=SPACE, out=tmp_path / "out", **SMALL)
    found = resume_tuning(tmp_path / "out", trials=1)
    assert [trial.state for trial in found.trials] == ["interrupted", "finished"]
    assert found.trials[0].settings == found.trials[1].settings


def test_settings_that_do_not_go_together_are_failed_trials(text: Path, tmp_path: Path) -> None:
    found = tune(text, trials=4, space={"width": [15, 16]}, out=tmp_path / "out", **SMALL)
    assert {trial.state for trial in found.trials if trial.settings["width"] == 15} == {"failed"}
    assert "width=15 does not divide" in found.table()


@pytest.mark.slow
def test_trials_in_processes_find_what_one_does(text: Path, tmp_path: Path) -> None:
    found = tune(text, trials=4, space=SPACE, out=tmp_path / "out", workers=2, **SMALL)
    assert [trial.state for trial in found.trials].count("finished") >= 3
    assert (tmp_path / "out" / "best" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_process_that_dies_is_a_failed_trial(text: Path, tmp_path: Path) -> None:
    from tinylm.tuning.running import run_in_process

    def report(step: int, value: float) -> bool:
        import multiprocessing

        for child in multiprocessing.active_children():
            child.kill()
        return False

    settings = resolve_settings(SMALL | {"data": str(text)})
    outcome = run_in_process(settings, tmp_path / "run", report, threads=1, is_stopped=lambda: False)
    assert outcome.state == "failed"
    assert "its process ended with" in outcome.reason


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"learning_rat": (1, 2)}, "unknown setting 'learning_rat'; did you mean 'learning_rate'"),
        ({"width": "16..x"}, "width is 'x', expected int"),
        ({"dropout": (0.3, 0.1)}, "expected two numbers, the smaller first"),
        ({"optimizer": ("adam", "sgd")}, "expected two numbers"),
        ({"width": []}, "expected low..high or choices"),
        ({}, "nothing to search"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(text: Path, tmp_path: Path, space: dict, words: str) -> None:
    with pytest.raises(TinylmError, match=words):
        tune(text, space=space, out=tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()


def test_spaces_are_read_as_people_write_them() -> None:
    settings = resolve_settings({})
    space = read_space(parse_space(["learning_rate=1e-4..1e-2", "width=64,128", "layers=1..4"]), settings)
    assert space == {"learning_rate": Range(1e-4, 1e-2), "width": Choices((64, 128)), "layers": Range(1, 4)}
    assert space["learning_rate"].is_logarithmic
    assert space["layers"].is_whole
    assert default_space(settings)["width"] == Choices((64, 128))
    with pytest.raises(TinylmError, match="takes name=low"):
        parse_space(["width"])


def test_folders_that_hold_something_else_are_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(TinylmError, match="is there already"):
        tune(text, out=tmp_path, **SMALL)
    with pytest.raises(TinylmError, match="holds no search"):
        resume_tuning(tmp_path)
    (tmp_path / "tuning.json").write_text('{"settings": {}}')
    with pytest.raises(FileFormatError, match="does not describe a search"):
        resume_tuning(tmp_path)


def test_a_search_needs_validation(text: Path, tmp_path: Path) -> None:
    with pytest.raises(TinylmError, match="hold some of the data out"):
        tune(text, trials=1, space=SPACE, out=tmp_path / "out", validation=0.0, **SMALL)


def test_the_command_tells_trials_table_and_what_comes_next(text: Path, tmp_path: Path, capsys) -> None:
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    words = ["tune", str(text), "--trials", "2", "--search", "dropout=0,0.1", "--out", str(tmp_path / "out"), *settings]
    assert main([*words, "--plot", str(tmp_path / "trials.png")]) == 0
    printed = capsys.readouterr().out
    assert "trial 0: dropout" in printed
    assert f"the best model: {tmp_path / 'out' / 'best'}" in printed
    assert (tmp_path / "trials.png").stat().st_size > 1000
    assert main(["tune", "--resume", str(tmp_path / "out"), "--trials", "3"]) == 0
    assert "trial 2" in capsys.readouterr().out
