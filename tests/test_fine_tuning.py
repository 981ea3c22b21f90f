"""Runs that train by LoRA: what they keep, that they go on to the same bits, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.errors import TinylmError
from tinylm.formats import read_safetensors
from tinylm.training import Trainer

SMALL = {"context": 16, "batch_size": 4, "validate_every": 5, "checkpoint_every": 5, "warmup": 0.1}


@pytest.fixture
def base(text: Path, tmp_path: Path) -> Path:
    return tinylm.train(text, out=tmp_path / "base", steps=5, layers=1, heads=2, width=16, **SMALL).best


def test_a_run_by_lora_keeps_an_adapter_that_is_used_like_a_model(text: Path, base: Path, tmp_path: Path) -> None:
    told: list[str] = []
    settings = {"lora_rank": 2, "learning_rate": 0.02, "steps": 10, **SMALL}
    run = tinylm.train(text, init=base, out=tmp_path / "run", notify=told.append, **settings)
    # c_attn 16 + 48, c_proj 16 + 16, c_fc 16 + 64, mlp.c_proj 64 + 16, times 2 ranks
    assert any("512 of them trained" in line for line in told)
    names = [path.name for path in run.best.iterdir()]
    assert "adapter_model.safetensors" in names
    assert "model.safetensors" not in names
    first, last = (record["val_loss"] for record in (read_metrics(run.folder)[4], read_metrics(run.folder)[-1]))
    assert last < first
    opened = tinylm.load(run.folder)
    assert opened.evaluate([text])["loss"] < tinylm.load(base).evaluate([text])["loss"]


def read_metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_by_lora_goes_on_to_the_same_bits(text: Path, base: Path, tmp_path: Path) -> None:
    settings = {"lora_rank": 2, "lora_dropout": 0.1, "steps": 10, **SMALL}
    whole = tinylm.train(text, init=base, out=tmp_path / "whole", **settings)

    def stop(trainer: Trainer, result) -> None:
        if trainer.step == 5:
            trainer.stop("enough")

    parts = tinylm.train(text, init=base, out=tmp_path / "parts", callbacks=[stop], **settings)
    parts = tinylm.train(resume=parts.folder)
    expected, found = (last_arrays(run.folder) for run in (whole, parts))
    assert list(expected) == list(found)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert not any("c_attn.weight" in name or "qkv.weight" in name for name in expected)  # nothing that is frozen


def last_arrays(folder: Path) -> dict[str, np.ndarray]:
    return dict(read_safetensors(sorted((folder / "checkpoints").iterdir())[-1] / "arrays.safetensors"))


def test_lora_brings_its_own_learning_rate_and_needs_a_model(text: Path, base: Path) -> None:
    kept = tinylm.train(text, init=base, lora_rank=1, steps=1, out=base.parent / "run", **SMALL).trainer.schedule
    assert kept(0) <= 2e-4
    with pytest.raises(TinylmError, match="say which, with --init"):
        tinylm.train(text, lora_rank=1)
    with pytest.raises(TinylmError, match=r"no layer is called 'q_proj'.*c_attn"):
        tinylm.train(text, init=base, lora_rank=1, lora_targets=["q_proj"])
    with pytest.raises(TinylmError, match=r"lora_dropout is 1\.0"):
        tinylm.train(text, init=base, lora_rank=1, lora_dropout=1.0)
