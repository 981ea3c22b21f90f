"""A loss that blows up ends the run with a word of its own, and leaves a checkpoint from before."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinylm
from tinylm.cli import main
from tinylm.errors import DivergedError, TinylmError
from tinylm.training import (
    RunFolder,
    StepResult,
    Trainer,
    list_runs,
    load_checkpoint,
    read_metrics,
    save_checkpoint,
    stop_on_divergence,
)
from tinylm.training.checkpoints import checkpoint_steps, discard_checkpoints

SMALL = {
    "layers": 1,
    "heads": 2,
    "width": 16,
    "context": 16,
    "batch_size": 4,
    "validate_every": 20,
    "checkpoint_every": 10,
    "steps": 110,
}


def first_alarm(losses, margin: float = 1.0) -> int | None:
    """The step at which this curve counts as diverged."""
    trainer, callback = SimpleNamespace(memory={}), stop_on_divergence(margin)
    for step, loss in enumerate(losses, 1):
        try:
            callback(trainer, StepResult(step, float(loss), 0.1, 1.0, 1, 1.0))
        except DivergedError:
            return step
    return None


def test_a_loss_far_above_its_best_for_fifty_steps_is_a_divergence_and_a_spike_is_none() -> None:
    falling = 1 + 3 * np.exp(-np.arange(300) / 60)
    noisy = falling + np.random.default_rng(0).normal(0, 0.3, 300)
    assert first_alarm(noisy) is None
    assert first_alarm([*noisy, *[1e4] * 49, *noisy[-100:]]) is None
    assert first_alarm([*noisy, *[3.5] * 60]) == 350
    assert first_alarm([*noisy, *[3.5] * 60], margin=3.0) is None
    assert first_alarm([4.6, *[50.0] * 60]) == 51  # blown up from the start
    assert first_alarm(4.6 + np.random.default_rng(0).normal(0, 0.3, 300)) is None  # learns nothing


def blow_up(at: int):
    """A callback that spoils the weights after a step, as a bad batch and a high rate would."""

    def callback(trainer: Trainer, result: StepResult) -> None:
        if trainer.step == at:
            for parameter in trainer.model.parameters():
                parameter.data *= 30

    return callback


def test_a_run_that_diverges_leaves_the_checkpoint_from_before_and_goes_on_with_a_lower_rate(
    text: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, "learning_rate": 1e-5, "final_learning_rate": 1e-5}  # too low to recover
    with pytest.raises(DivergedError, match=r"step 93: .* for 50 steps\. From the last good checkpoint, step 40, .*"):
        tinylm.train(text, out=tmp_path / "run", callbacks=[blow_up(43)], **settings)
    run = RunFolder.open(tmp_path / "run")
    assert checkpoint_steps(run.checkpoints) == [30, 40]
    assert read_metrics(run.metrics_file)[-1]["step"] == 93
    assert list_runs(tmp_path)[-1].state == "diverged"
    assert "has diverged" in json.loads((run.path / "end.json").read_text(encoding="utf-8"))["reason"]
    resumed = tinylm.train(resume=run.path, learning_rate=3e-6)
    assert resumed.trainer.step == 110
    again = RunFolder.open(run.path)
    assert again.config["learning_rate"] == 3e-6
    [change] = again.provenance["changes"]
    assert (change["step"], change["settings"]) == (40, {"learning_rate": [1e-5, 3e-6]})


def test_a_huge_learning_rate_ends_the_command_with_a_status_of_its_own(text: Path, tmp_path: Path, capfd) -> None:
    words = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    command = ["train", str(text), "--out", str(tmp_path / "run"), *words, "--set", "learning_rate=30"]
    assert main([*command, "--set", "warmup=0.0", "--set", "clip=0"]) == 3
    err = capfd.readouterr().err
    assert "tinylm: error: step " in err
    assert "--set learning_rate=1e+01" in err
    assert "Traceback" not in err


def test_a_gradient_that_is_not_finite_counts_as_diverged(text: Path, tmp_path: Path) -> None:
    def spoil(trainer: Trainer, result: StepResult) -> None:
        if trainer.step == 25:
            next(iter(trainer.model.parameters())).data[0] = np.nan

    with pytest.raises(DivergedError, match=r"step 26: the gradient of .* is not finite.*good checkpoint, step 20"):
        tinylm.train(text, out=tmp_path / "run", callbacks=[spoil], **SMALL)
    assert list_runs(tmp_path)[-1].state == "diverged"
    assert load_checkpoint(tmp_path / "run" / "checkpoints").step == 20


def test_switched_off_the_run_goes_on(text: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "steps": 100, "learning_rate": 1e-5, "divergence": 0}
    run = tinylm.train(text, out=tmp_path / "run", callbacks=[blow_up(23)], **settings)
    assert run.trainer.step == 100
    assert checkpoint_steps(run.folder / "checkpoints") == [90, 100]


def test_only_what_steers_a_run_may_change_when_it_goes_on(text: Path, tmp_path: Path) -> None:
    tinylm.train(text, out=tmp_path / "run", **{**SMALL, "steps": 10})
    with pytest.raises(TinylmError, match=r"width=32 \(the run has 16\); learning_rate, .* may change"):
        tinylm.train(resume=tmp_path / "run", width=32, clip=0.5)


def test_later_checkpoints_are_discarded_and_others_stay(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, {"x": np.zeros(3)}, {}, keep=3)
    discard_checkpoints(tmp_path, after=20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000020"]
