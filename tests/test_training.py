"""The trainer, its callbacks, and whole runs: the same bits whatever stops them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import read_safetensors
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.optim import OPTIMIZERS, SCHEDULES, AdamW, parameter_groups
from tinylm.tasks import OPTIMIZER_SETTINGS, WritingSettings, resolve_settings
from tinylm.training import NonFiniteError, StepResult, Trainer, early_stopping, read_metrics, validate

pytestmark = pytest.mark.usefixtures("caches")
V, T = 17, 9


class Counting:
    """A task over sequences that count up: any model learns it."""

    batch_size = 6

    def batch(self, step: int, rows: slice):
        numbers = range(*rows.indices(self.batch_size))
        starts = np.array([np.random.default_rng([step, row]).integers(V) for row in numbers])
        ids = (starts[:, None] + np.arange(T + 1)) % V
        targets = ids[:, 1:].copy()
        targets[:, 0] = np.where(np.array(numbers) % 3 == 0, -100, targets[:, 0])  # slices of unequal weight
        return ids[:, :-1], targets

    def loss(self, model, batch):
        return model.loss(*batch)

    def count(self, batch) -> int:
        return int((batch[1] != -100).sum())

    def tokens(self, batch) -> int:
        return batch[0].size

    def evaluate(self, model) -> dict[str, float]:
        return {"loss": model.loss(*self.batch(10**6, slice(None))).item()}


def trainer(dtype=np.float32, dropout=0.0, **settings) -> Trainer:
    config = GPT2Config(V, n_positions=T, n_embd=16, n_layer=2, n_head=2, resid_pdrop=dropout, embd_pdrop=dropout)
    model = GPT2(config, Initializer(0, dtype))
    optimizer = AdamW(parameter_groups(model, 0.1))
    return Trainer(model, Counting(), optimizer, lambda step: 1e-2, **{"steps": 20, "seed": 3, **settings})


def weights(trainer: Trainer) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in trainer.model.state_dict().items()}


def test_training_learns() -> None:
    run = trainer(steps=60)
    losses: list[float] = []
    run.callbacks.append(lambda trainer, result: losses.append(result.loss))
    run.run()
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_slices_of_a_batch_give_the_gradients_of_the_whole(dropout: float) -> None:
    whole, sliced = trainer(np.float64, dropout), trainer(np.float64, dropout, accumulate=4)
    for run in (whole, sliced):
        run.model.train()
    first, second = whole.train_step(), sliced.train_step()
    assert first.loss == pytest.approx(second.loss, rel=1e-12)
    assert first.gradient_norm == pytest.approx(second.gradient_norm, rel=1e-12)
    assert first.tokens == second.tokens
    for name, parameter in whole.model.named_parameters():
        other = dict(sliced.model.named_parameters())[name]
        assert np.allclose(parameter.grad, other.grad, rtol=1e-9, atol=1e-14), name


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    runs = [trainer(dropout=0.2), trainer(dropout=0.2), trainer(dropout=0.2, seed=4)]
    for run in runs:
        run.run()
    first, again, other = (weights(run) for run in runs)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change() -> None:
    run = trainer()
    run.model.train()
    run.train_step()
    run.model.norm.weight.data[0] = np.nan
    before = weights(run)
    with pytest.raises(NonFiniteError, match=r"step 2: the gradient of tokens.weight .* rows 0..5 of step 1"):
        run.run()
    assert all(np.array_equal(array, before[name], equal_nan=True) for name, array in weights(run).items())


def test_early_stopping_waits_and_then_stops() -> None:
    run = trainer(steps=50)
    losses = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.6, 1.7, 0.1])
    run.task.evaluate = lambda model: {"loss": next(losses)}
    run.callbacks += [validate(2), early_stopping(3)]
    run.run()
    assert run.step == 14
    assert "3 validations" in run.stopped
    assert run.memory["best_step"] == 8


def test_a_model_is_validated_without_dropout_and_trained_with_it() -> None:
    run = trainer(dropout=0.5, steps=1)
    modes: list[bool] = []
    run.task.evaluate = lambda model: modes.append(model.training) or {"loss": 1.0}
    run.callbacks += [validate(1), lambda trainer, result: modes.append(trainer.model.training)]
    run.run()
    assert modes == [False, True]
    assert not run.model.training


def test_more_slices_than_rows_are_refused() -> None:
    with pytest.raises(TinylmError, match="accumulate is 7"):
        trainer(accumulate=7)


# Whole runs, through the public door.

SMALL = {
    "layers": 1,
    "heads": 2,
    "width": 16,
    "context": 16,
    "batch_size": 4,
    "warmup": 0.1,
    "validate_every": 10,
    "checkpoint_every": 10,
    "dropout": 0.1,
}


@pytest.mark.parametrize(
    ("model", "optimizer", "ema"),
    [
        ("gpt2", "adamw", 0.9),
        ("lstm", "muon", 0.0),
        *[pytest.param("gpt2", name, 0.0, marks=pytest.mark.slow) for name in OPTIMIZERS],
    ],
)
def test_twenty_steps_equal_ten_saved_and_ten_in_a_new_process(
    text: Path, tmp_path: Path, model: str, optimizer: str, ema: float
) -> None:
    settings = {**SMALL, "model": model, "optimizer": optimizer, "ema": ema, "steps": 20}
    whole = tinylm.train(text, out=tmp_path / "whole", **settings)

    def interrupt(trainer: Trainer, result: StepResult) -> None:
        if trainer.step == 10 and not trainer.is_ending:
            os.kill(os.getpid(), signal.SIGINT)

    tinylm.train(text, out=tmp_path / "parts", callbacks=[interrupt], **settings)
    stopped_at = read_metrics(tmp_path / "parts" / "metrics.jsonl")[-1]["step"]
    assert stopped_at == 11  # the step in which the interrupt was seen
    code = f"import tinylm; tinylm.train(resume={str(tmp_path / 'parts')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    first, second = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "parts"))
    expected, received = (read_safetensors(folder / "arrays.safetensors") for folder in (first, second))
    assert list(expected) == list(received)
    assert all(np.array_equal(expected[name], received[name]) for name in expected)
    assert curve(tmp_path / "whole") == curve(tmp_path / "parts")
    samples = [(tmp_path / n / "samples.txt").read_text(encoding="utf-8") for n in ("whole", "parts")]
    assert samples[0].split("--- step 20 ---")[1] == samples[1].split("--- step 20 ---")[1]
    assert whole.stopped is None


def curve(run: Path) -> list[dict]:
    """What metrics.jsonl says of a run, without the times."""
    records = read_metrics(run / "metrics.jsonl")
    return [{k: v for k, v in m.items() if k not in ("seconds", "tokens_per_second")} for m in records]


def test_a_run_leaves_what_its_documentation_says(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", steps=20, **SMALL)
    metrics = read_metrics(run.folder / "metrics.jsonl")
    assert [m["step"] for m in metrics] == list(range(1, 21))
    assert [m["step"] for m in metrics if "val_loss" in m] == [10, 20]
    assert {"train_loss", "learning_rate", "gradient_norm", "tokens_per_second", "seconds"} <= set(metrics[0])
    config = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert resolve_settings(config) == resolve_settings(SMALL, {"steps": 20, "data": [str(text)]})
    lm = tinylm.load(run.folder)
    assert "the" in lm.generate("the ", max_tokens=60, temperature=0.5, seed=0) or lm.generate("the ", seed=0)
    assert lm.evaluate([text])["bits_per_byte"] > 0


def test_the_best_weights_are_kept_and_not_the_last(text: Path, tmp_path: Path, monkeypatch) -> None:
    losses = itertools.count()
    real = tinylm.tasks.language_modelling.evaluate_split
    monkeypatch.setattr(
        "tinylm.tasks.language_modelling.evaluate_split",
        lambda *args, **settings: {**real(*args, **settings), "loss": float(next(losses))},
    )
    run = tinylm.train(text, out=tmp_path / "run", steps=20, **SMALL)
    assert run.trainer.memory["best_step"] == 10
    best, last = tinylm.load(run.best).model.state_dict(), run.model.state_dict()
    assert not all(np.allclose(best[name], last[name]) for name in best)


def test_the_running_mean_of_the_weights_is_validated_and_kept(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", steps=20, ema=0.9, **SMALL)
    plain = tinylm.train(text, out=tmp_path / "plain", steps=20, **SMALL)
    last, kept = run.model.state_dict(), tinylm.load(run.best).model.state_dict()
    assert all(np.array_equal(last[name], array) for name, array in plain.model.state_dict().items())
    assert not all(np.allclose(kept[name], last[name]) for name in last)
    with run.trainer.averaged():
        assert all(np.array_equal(kept[name], array) for name, array in run.model.state_dict().items())
        loss = run.trainer.task.evaluate(run.model)["loss"]
    assert loss == read_metrics(run.folder / "metrics.jsonl")[-1]["val_loss"]


def test_resume_refuses_other_settings_other_data_and_a_folder_that_is_no_run(text: Path, tmp_path: Path) -> None:
    tinylm.train(text, out=tmp_path / "run", steps=10, **SMALL)
    with pytest.raises(TinylmError, match=r"width=32 \(the run has 16\)"):
        tinylm.train(resume=tmp_path / "run", width=32)
    with pytest.raises(TinylmError, match=r"config\.json"):
        tinylm.train(resume=tmp_path)
    with pytest.raises(TinylmError, match="resume"):
        tinylm.train(text, out=tmp_path / "run", steps=10, **SMALL)
    text.write_text("other words than before. " * 60, encoding="utf-8")
    with pytest.raises(TinylmError, match="changed"):
        tinylm.train(resume=tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over_and_said(text: Path, tmp_path: Path) -> None:
    tinylm.train(text, out=tmp_path / "run", steps=20, **SMALL)
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    raw = bytearray((newest / "arrays.safetensors").read_bytes())
    raw[-1] ^= 1
    (newest / "arrays.safetensors").write_bytes(raw)
    said: list[str] = []
    run = tinylm.train(resume=tmp_path / "run", notify=said.append)
    assert any("damaged" in line and "step 10" in line for line in said)
    assert run.trainer.step == 20


def test_tracking_without_its_package_says_what_to_install_before_anything_is_made(
    text: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(TinylmError, match=r'track=tensorboard needs tensorboardX: pip install "tinylm\[track\]"'):
        tinylm.train(text, out=tmp_path / "run", track="tensorboard", **SMALL)
    assert not (tmp_path / "run").exists()


BAD_DATA = {
    "empty": (b"", "empty"),
    "binary": (b"abc\0def" * 100, "binary|NUL"),
    "latin-1": ("größe ".encode("latin-1") * 100, "UTF-8"),
    "short": (b"too short", "context"),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_bad_data_is_named_and_leaves_no_run(tmp_path: Path, kind: str) -> None:
    raw, words = BAD_DATA[kind]
    path = tmp_path / "data.txt"
    path.write_bytes(raw)
    with pytest.raises(TinylmError, match=words):
        tinylm.train(path, out=tmp_path / "run", steps=10, **SMALL)
    assert not (tmp_path / "run").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"nothing\.txt"):
        tinylm.train(tmp_path / "nothing.txt")


def test_the_built_in_text_needs_no_file(tmp_path: Path) -> None:
    run = tinylm.train(out=tmp_path / "run", steps=2, validation=0.01, **SMALL)
    assert run.tokenizer.vocab_size > 90


def test_bytes_learn_any_language(tmp_path: Path) -> None:
    path = tmp_path / "chinese.txt"
    path.write_text("今天天气很好。" * 200, encoding="utf-8")
    run = tinylm.train(path, out=tmp_path / "run", tokenizer="bytes", **{**SMALL, "steps": 60, "learning_rate": 0.01})
    lm = tinylm.load(run.best)
    assert lm.tokenizer.vocab_size == 256
    assert lm.score("今天天气很好").total > lm.score("好很气天天今").total


def test_without_validation_the_last_weights_are_the_best(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", steps=10, validation=0.0, **SMALL)
    best, last = tinylm.load(run.best).model.state_dict(), run.model.state_dict()
    assert all(np.allclose(best[name], last[name]) for name in best)


@pytest.mark.parametrize(("optimizer", "schedule"), [*zip(OPTIMIZERS, itertools.cycle(SCHEDULES))])
def test_every_optimizer_and_schedule_trains(text: Path, tmp_path: Path, optimizer: str, schedule: str) -> None:
    settings = {**SMALL, "optimizer": optimizer, "schedule": schedule, "validation": 0.0, "checkpoint_every": 12}
    run = tinylm.train(text, out=tmp_path / "r", steps=12, **settings)
    metrics = read_metrics(run.folder / "metrics.jsonl")
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"widht": 3}, "did you mean 'width'"),
        ({"width": "big"}, "width is 'big', expected int"),
        ({"width": 5.5}, "width is 5.5"),
        ({"model": "bert"}, "gpt2, llama"),
        ({"optimizer": "loin"}, "optimizer is 'loin'; did you mean 'lion'"),
        ({"heads": 3, "width": 16}, "does not divide"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": "nan"}, "learning_rate"),
        ({"tie_embeddings": "maybe"}, "expected bool"),
    ],
)
def test_impossible_settings_are_named(settings, words) -> None:
    with pytest.raises(TinylmError, match=words):
        resolve_settings(settings)


def test_an_optimizer_brings_its_rate_unless_one_is_given(text: Path, tmp_path: Path) -> None:
    brought = tinylm.train(text, out=tmp_path / "a", steps=1, optimizer="sgd", **SMALL)
    given = tinylm.train(text, out=tmp_path / "b", steps=1, optimizer="sgd", learning_rate=0.01, **SMALL)
    rates = [read_metrics(run.folder / "metrics.jsonl")[0]["learning_rate"] for run in (brought, given)]
    assert rates == [OPTIMIZER_SETTINGS["sgd"]["learning_rate"], 0.01]


def test_settings_read_from_texts_are_what_they_say() -> None:
    chosen = resolve_settings({"width": "32", "dropout": "0.5", "tie_embeddings": "false", "learning_rate": 1})
    assert chosen == WritingSettings(width=32, dropout=0.5, tie_embeddings=False, learning_rate=1.0)
