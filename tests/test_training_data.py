"""Runs on records, on several sources, and on whole documents; what is told of the data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.tasks import resolve_settings
from tinylm.training import read_metrics

SMALL = {"steps": 6, "layers": 1, "heads": 2, "width": 16, "context": 8, "batch_size": 4, "validate_every": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> None:
    for module in ("tinylm.tasks.text", "tinylm.data.survey"):
        monkeypatch.setattr(f"{module}.cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A text and a file of records, one of which is broken."""
    text, records = tmp_path / "a.txt", tmp_path / "b.jsonl"
    text.write_text("the cat sat on the mat. " * 30, encoding="utf-8")
    lines = [json.dumps({"body": f"record {i} says {'no' * (i % 5)}."}) for i in range(60)]
    records.write_text("\n".join([*lines[:3], "broken", *lines[3:]]), encoding="utf-8")
    return text, records


def test_a_run_on_records_tells_what_it_skipped(files, tmp_path: Path, capsys) -> None:
    arguments = ["train", str(files[1]), "--text-column", "body", "--out", str(tmp_path / "run")]
    small = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    assert main([*arguments, *small]) == 0
    assert f"skipped 1 of 61 records: first at {files[1]}:4: malformed JSON" in capsys.readouterr().err
    assert main([*arguments[:-1], str(tmp_path / "other"), *small, "--strict"]) == 2
    assert "b.jsonl:4: malformed JSON" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "run"), str(files[1]), "--text-column", "body", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["models"][0]["metrics"]["loss"] > 0
    assert "tinylm: warning: skipped 1 of 61 records" in captured.err


def test_two_sources_report_the_loss_of_each_and_of_all(files, tmp_path: Path) -> None:
    told: list[str] = []
    run = tinylm.train(files, out=tmp_path / "run", weights=(0.7, 0.3), text_column="body", notify=told.append, **SMALL)
    last = read_metrics(run.folder / "metrics.jsonl")[-1]
    names = [f"val_loss/{path}" for path in files]
    counts = [len(source.validation) - 1 for source in run.trainer.task.sources]
    assert last["val_loss"] == pytest.approx(np.average([last[name] for name in names], weights=counts), rel=1e-6)
    assert math.isfinite(last["val_bits_per_byte"])
    assert any("skipped 1 of 62 records" in message for message in told)
    assert json.loads((run.folder / "config.json").read_text())["weights"] == [0.7, 0.3]


@pytest.mark.parametrize("packing", ["stream", "documents", "separate"])
def test_a_stopped_run_on_two_sources_goes_on_with_the_same_bits(files, tmp_path: Path, packing: str) -> None:
    settings = {**SMALL, "weights": "0.5,0.5", "text_column": "body", "packing": packing, "checkpoint_every": 3}
    whole = tinylm.train(files, out=tmp_path / "whole", **settings)

    def stop(trainer, result) -> None:
        if trainer.step == 3 and not trainer.memory.get("again"):
            trainer.memory["again"] = True
            trainer.stop("for the test")

    tinylm.train(files, out=tmp_path / "parts", callbacks=[stop], **settings)
    resumed = tinylm.train(resume=tmp_path / "parts")
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array, resumed.model.state_dict()[name])


def test_documents_are_packed_and_the_share_of_padding_is_told(files, tmp_path: Path) -> None:
    told: list[str] = []
    tinylm.train(files[1], out=tmp_path / "r", text_column="body", packing="documents", notify=told.append, **SMALL)
    assert any(message.startswith("packing: ") and "% padding" in message for message in told)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data": ("a", "b"), "weights": "1"}, "expected a positive number for each"),
        ({"data": ("a", "b"), "weights": "1,0"}, "expected a positive number for each"),
        ({"data": ("a", "b"), "weights": "1,x"}, "weights is 'x', expected float"),
        ({"weights": (1.0,)}, "expected a positive number for each"),
        ({"packing": "tight"}, "stream, documents"),
        ({"packing": "separate", "model": "lstm"}, "packing=separate is for Transformers"),
        ({"workers": -1}, "workers is -1"),
    ],
)
def test_impossible_settings_of_data_are_named(settings, words) -> None:
    with pytest.raises(TinylmError, match=words):
        resolve_settings(settings)


def test_weights_are_read_from_text_and_numbers() -> None:
    for weights in ("0.7, 0.3", (0.7, 0.3), ["0.7", 0.3]):
        assert resolve_settings({"data": ["a", "b"], "weights": weights}).weights == (0.7, 0.3)
    assert resolve_settings({"data": "a", "weights": 2}).weights == (2.0,)
