"""TensorBoard reads what track=tensorboard writes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("tensorboardX")
reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

import tinylm
from tinylm.training import StepResult, Trainer, read_metrics

pytestmark = pytest.mark.oracle

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 16, "batch_size": 4, "validate_every": 5, "steps": 20}


def read_events(folder: Path):
    events = reader.EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    return events.Reload()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_and_samples_are_those_of_the_run_also_after_a_resume(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path / "cache")
    (tmp_path / "text.txt").write_text("the cat *sat* on <b>the mat</b>. " * 60, encoding="utf-8")

    def interrupt(trainer: Trainer, result: StepResult) -> None:
        if trainer.step == 8 and not trainer.is_ending:
            os.kill(os.getpid(), signal.SIGINT)

    run = tinylm.train(tmp_path / "text.txt", out=tmp_path / "run", track="tensorboard", callbacks=[interrupt], **SMALL)
    assert run.stopped
    run = tinylm.train(resume=run.folder)
    records = read_metrics(run.folder / "metrics.jsonl")
    events = read_events(run.folder / "tensorboard")
    assert set(events.Tags()["scalars"]) == {name for record in records for name in record} - {"step"}
    for name in events.Tags()["scalars"]:
        expected = [(r["step"], pytest.approx(r[name], rel=1e-6)) for r in records if name in r]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected, name
    tag = events.Tags()["tensors"][0]
    assert [event.step for event in events.Tensors(tag)] == [5, 10, 15, 20]
    shown = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
    assert "".join(line.removeprefix("    ") for line in shown.splitlines(True)).strip() == run.last_sample()
