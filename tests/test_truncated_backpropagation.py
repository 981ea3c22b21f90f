"""Truncated backpropagation: batches and a state that go on from step to step, and what a resume needs of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.data import ContinuedBatches, TokenSplit
from tinylm.errors import TinylmError
from tinylm.formats import read_safetensors
from tinylm.models import GRUConfig, GRULanguageModel, LSTMConfig, LSTMLanguageModel
from tinylm.nn import Initializer
from tinylm.optim import AdamW
from tinylm.tasks import ContinuedLanguageModelling, Source, resolve_settings
from tinylm.training import StatefulTask, StepResult, Trainer, read_metrics

V = 13


def counting(n: int) -> TokenSplit:
    """Each token is its own place in the text."""
    return TokenSplit(np.arange(n, dtype=np.uint16), np.ones(n, np.int64))


def text(n: int) -> TokenSplit:
    return TokenSplit(np.random.default_rng(0).integers(0, V, n).astype(np.uint16), np.ones(V, np.int64))


@given(tokens=st.integers(40, 400), rows=st.integers(1, 4), context=st.integers(1, 9), seed=st.integers(0, 2**64 - 1))
def test_each_row_reads_its_stretch_window_after_window(tokens: int, rows: int, context: int, seed: int) -> None:
    batches = ContinuedBatches(counting(tokens), batch_size=rows, context=context, seed=seed)
    steps, stretch = batches.steps_per_pass, (tokens - 1) // rows
    assert [batches.begins(step) for step in range(2 * steps)] == ([True] + [False] * (steps - 1)) * 2
    for first in (0, steps):
        inputs, targets = zip(*(batches.train_batch(first + step) for step in range(steps)), strict=True)
        read = np.concatenate(inputs, axis=1)
        assert (np.diff(read, axis=1) == 1).all()
        assert np.array_equal(np.concatenate(targets, axis=1), read + 1)
        assert (read // stretch == np.arange(rows)[:, None]).all()
        assert read.shape[1] > stretch - context


@given(step=st.integers(0, 10**9), rows=st.slices(6))
def test_a_slice_of_the_rows_is_that_slice_of_the_batch(step: int, rows: slice) -> None:
    batches = ContinuedBatches(counting(1000), batch_size=6, context=4, seed=3)
    for whole, part in zip(batches.train_batch(step), batches.train_batch(step, rows), strict=True):
        assert np.array_equal(whole[rows], part)


def test_what_fills_no_window_is_left_out_at_either_end_by_chance() -> None:
    batches = ContinuedBatches(counting(100), batch_size=1, context=60, seed=0)
    starts = {int(batches.train_batch(step)[0][0, 0]) for step in range(500)}
    assert batches.steps_per_pass == 1
    assert starts == set(range(40))


def test_a_text_too_short_for_its_streams_says_what_to_set() -> None:
    with pytest.raises(TinylmError, match=r"100 tokens is too short for 4 streams .*\(--set batch_size=3\)"):
        ContinuedBatches(counting(100), batch_size=4, context=30, seed=0)
    ContinuedBatches(counting(100), batch_size=3, context=30, seed=0)


def models():
    sizes = {"embedding_size": 5, "hidden_size": 7, "num_layers": 2}
    return {
        "lstm": LSTMLanguageModel(LSTMConfig(V, **sizes), Initializer(0, np.float64)),
        "gru": GRULanguageModel(GRUConfig(V, **sizes), Initializer(0, np.float64)),
    }


def task(batch_size: int = 3, context: int = 5) -> ContinuedLanguageModelling:
    return ContinuedLanguageModelling([Source("", text(100), text(20))], batch_size=batch_size, context=context)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_steps_that_carry_the_state_see_what_one_long_step_sees(kind: str) -> None:
    model, short, long = models()[kind], task(context=5), task(context=10)
    # Both pass over the same 30 of 33 tokens a row, from the beginning of one pass where none is left out.
    short._stretches._draw = long._stretches._draw = lambda *at: 0
    parts = [short.loss(model, short.batch(step, slice(0, 3))).item() for step in range(6)]
    whole = [long.loss(model, long.batch(step, slice(0, 3))).item() for step in range(3)]
    assert np.allclose(np.reshape(parts, (3, 2)).mean(axis=1), whole, rtol=1e-12)
    fresh = task(context=5)
    alone = [fresh.loss(model, (*fresh.batch(step, slice(0, 3))[:3], True)).item() for step in range(6)]
    assert not np.allclose(alone[1:], parts[1:], rtol=1e-4)


def test_the_graph_ends_at_the_step() -> None:
    model, streams = models()["lstm"], task()
    for step in range(2):
        loss = streams.loss(model, streams.batch(step, slice(0, 3)))
    model.zero_grad()
    loss.backward()
    loss_alone = streams.loss(model, streams.batch(2, slice(0, 3)))
    loss_alone.backward()  # the first backward freed its graph: reaching back into it would raise
    assert isinstance(streams, StatefulTask)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_slices_of_a_batch_carry_the_state_of_their_rows(kind: str) -> None:
    runs = []
    for accumulate in (1, 2, 3):
        model = models()[kind]
        run = Trainer(
            model, task(), AdamW(model.parameters()), lambda step: 1e-2, steps=12, seed=3, accumulate=accumulate
        )
        losses: list[float] = []
        run.callbacks.append(lambda trainer, result, losses=losses: losses.append(result.loss))
        run.run()
        runs.append((losses, run.task.state_dict()))
    for losses, state in runs[1:]:
        assert np.allclose(losses, runs[0][0], rtol=1e-9)
        for name, array in state.items():
            assert np.allclose(array, runs[0][1][name], rtol=1e-7, atol=1e-10), name


SMALL = {
    "carry_state": True,
    "layers": 2,
    "width": 16,
    "embedding": 8,
    "context": 8,
    "batch_size": 4,
    "warmup": 0.1,
    "dropout": 0.2,
    "variational_dropout": True,
    "validate_every": 20,
    "checkpoint_every": 5,
    "steps": 20,
}


@pytest.fixture
def book(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path / "cache")
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. " * 20, encoding="utf-8")  # 13 steps a pass
    return path


class Crash(Exception):
    pass


@pytest.mark.parametrize("model", ["lstm", "gru"])
@pytest.mark.parametrize("saved", [5, 13])  # within a pass over the text, and where the next one begins
def test_a_resume_goes_on_with_the_state_to_the_same_bits(book: Path, tmp_path: Path, model: str, saved: int) -> None:
    settings = {**SMALL, "model": model, "accumulate": 2, "checkpoint_every": saved}
    tinylm.train(book, out=tmp_path / "whole", **settings)

    def crash(trainer: Trainer, result: StepResult) -> None:
        if trainer.step == saved + 2:
            raise Crash

    with pytest.raises(Crash):
        tinylm.train(book, out=tmp_path / "parts", callbacks=[crash], **settings)
    tinylm.train(resume=tmp_path / "parts")
    first, second = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("whole", "parts"))
    expected, received = (read_safetensors(folder / "arrays.safetensors") for folder in (first, second))
    assert any(name.startswith("task.") for name in expected)
    assert list(expected) == list(received)
    assert all(np.array_equal(expected[name], received[name]) for name in expected)
    curves = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")]
    assert [m["train_loss"] for m in curves[0]] == [m["train_loss"] for m in curves[1]]
    assert [m.get("val_loss") for m in curves[0]] == [m.get("val_loss") for m in curves[1]]


def test_a_carried_state_that_does_not_fit_is_refused() -> None:
    for state in ({}, {"0.0": np.zeros((4, 7))}):
        with pytest.raises(TinylmError, match="no carried state for 3 rows"):
            task().load_state_dict(state)


@pytest.mark.parametrize("name", ["carry_state", "variational_dropout"])
def test_what_only_recurrent_models_can_is_refused_for_others(name: str) -> None:
    with pytest.raises(TinylmError, match=f"{name} is for lstm and gru; model is 'gpt2'"):
        resolve_settings({name: True})


def test_a_carried_state_wants_one_text_in_its_order() -> None:
    for other in ({"packing": "documents"}, {"data": ("a", "b"), "weights": (1.0, 2.0)}):
        with pytest.raises(TinylmError, match="reads one text in its order"):
            resolve_settings({"model": "gru", "carry_state": True, **other})
