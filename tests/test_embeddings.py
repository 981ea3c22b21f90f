"""Embeddings: which texts count as others, what is learnt from pairs, scores and texts, and how it is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm import check_gradients
from tinylm.autograd import Tensor
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import Pooling, read_pooling, save_model
from tinylm.models import GPT2, Bert, BertConfig, GPT2Config
from tinylm.nn import Initializer, random_step
from tinylm.tasks import choose_settings
from tinylm.tasks.embeddings import EmbeddingTask, Pairs, contrastive_loss, pair_scores

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 12, "batch_size": 8, "vocab_size": 120, "steps": 2}
THINGS = ["cat", "dog", "house", "tree", "river", "book", "train", "garden", "bridge", "lamp"]
COLOURS = {"red": "crimson", "blue": "azure", "green": "verdant", "white": "pale", "black": "dark"}
PAIRS = [(f"a {colour} {thing}", f"the {thing} is {other}") for thing in THINGS for colour, other in COLOURS.items()]
TINY = BertConfig(40, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=16)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", [{"query": a, "passage": b} for a, b in PAIRS])


def encode(texts) -> list[np.ndarray]:
    return [np.array([1, *(3 + ord(letter) % 37 for letter in text), 2]) for text in texts]


def task_of(rows: list[dict], **settings) -> EmbeddingTask:
    chosen = {"batch_size": len(rows), "temperature": 0.05} | settings
    return EmbeddingTask(Pairs.of(rows), Pairs.of(rows), encode, **chosen)


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), min_size=1, max_size=8),
    st.lists(st.sampled_from("abcdef"), max_size=3),
)
def test_no_text_that_belongs_to_an_anchor_is_told_from_it(found: list[tuple[str, str]], negatives: list[str]) -> None:
    made = Pairs.of([{"anchor": a, "positive": b, "negatives": negatives} for a, b in found])
    anchors, documents, false, _ = made.sides(np.arange(len(made)))
    together = {*found, *((b, a) for a, b in found)}
    for row, anchor in enumerate(anchors):
        for column, document in enumerate(documents):
            one, other = made.texts[anchor], made.texts[document]
            expected = row != column and (one == other or (one, other) in together)
            assert false[row, column] == expected


def test_what_is_false_does_not_count_and_the_gradients_are_right() -> None:
    rng = np.random.default_rng(0)
    a, d = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    false = np.zeros((3, 5), bool)
    false[0, 3] = false[2, 0] = True
    loss = contrastive_loss(Tensor(a), Tensor(d), false, 0.5).item()
    d2 = d.copy()
    terms = []
    for row in range(3):
        logits = (d2 @ a[row] / 0.5)[~false[row]]
        terms.append(np.log(np.exp(logits).sum()) - d2[row] @ a[row] / 0.5)
    assert loss == pytest.approx(np.mean(terms), rel=1e-12)
    assert check_gradients(lambda a, d: contrastive_loss(a, d, false, 0.5), a, d) < 1e-6


def test_a_text_that_is_its_own_pair_is_told_from_itself_by_dropout_alone() -> None:
    task = task_of([{"anchor": text, "positive": text, "score": 1.0} for text in ("a cat", "two dogs")])
    model = Bert(TINY, Initializer(0))
    batch = task.batch(0, slice(0, 2))
    assert task.loss(model.eval(), batch).item() < 1e-12
    model.train()
    losses = []
    for _ in range(2):
        with random_step(seed=0, step=0):
            losses.append(task.loss(model, batch).item())
    assert losses[0] == losses[1] > 1e-4  # the two sides have masks of their own
    alone = task_of([{"anchor": text} for text in ("a cat", "two dogs", "no house")], searched=False)
    assert set(alone.evaluate(model.eval())) == {"loss"}


def test_slices_of_a_batch_of_scores_have_the_losses_of_the_whole() -> None:
    rows = [{"anchor": "a" * n, "positive": "b" * (9 - n), "score": n / 9} for n in range(1, 9)]
    task, model = task_of(rows), Bert(TINY, Initializer(0)).train()
    with random_step(seed=1, step=0):
        whole = task.loss(model, task.batch(0, slice(0, 8))).item()
    parts = []
    for first in (0, 4):
        with random_step(seed=1, step=0, first_row=first):
            parts.append(task.loss(model, task.batch(0, slice(first, first + 4))).item())
    assert whole == pytest.approx(np.mean(parts), rel=1e-5)


def test_a_search_does_not_find_the_query_itself_and_knows_all_that_is_right() -> None:
    rows = [("a", "b"), ("a", "c"), ("c", "d"), ("e", "f")]
    made = Pairs.of([{"anchor": a, "positive": b} for a, b in rows])
    angles = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.6, "e": 2.0, "f": 0.0}
    vectors = np.array([[np.cos(angles[text]), np.sin(angles[text])] for text in made.texts])
    scores = pair_scores(made, vectors)
    # a finds f first, then b and c; c finds b, f or d; e finds d first.
    assert len(scores) == 3
    assert scores.rows[0].tolist() == [1 / 2, 0, 1, 1]
    assert scores.rows[1][0] == pytest.approx(1 / 3)
    assert scores.rows[2][0] == pytest.approx(1 / 4)


def test_it_learns_from_pairs_and_its_folder_says_how_to_pool(pairs: Path, tmp_path: Path, capsys) -> None:
    told: list[str] = []
    settings = SMALL | {"steps": 120, "validate_every": 60, "width": 32, "dropout": 0.0, "learning_rate": 3e-3}
    run = tinylm.train(pairs, task="embeddings", out=tmp_path / "run", notify=told.append, **settings)
    assert any("anchor from 'query', positive from 'passage'" in line for line in told)
    assert run.trainer.memory["best_val_recall@1"] == run.best_metrics()["val_recall@1"] == 1.0
    assert read_pooling(run.best) == Pooling("mean", normalize=True, max_tokens=12)
    lm = tinylm.load(run.best)
    vectors = lm.embed(["a red cat", "the cat is crimson", "the lamp is dark"])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert lm.evaluate(pairs)["mrr"] > 0.9
    assert "  -> " in run.last_sample()
    assert main(["eval", str(run.best), str(pairs), "--positive-column", "passage"]) == 0
    assert "recall@1" in capsys.readouterr().out


def test_scores_are_learnt_and_measured_by_rank(tmp_path: Path) -> None:
    rows = [{"sentence1": a, "sentence2": b, "score": 5 * (at % 3) / 2} for at, (a, b) in enumerate(PAIRS)]
    data, told = write(tmp_path / "scores.jsonl", rows), []
    settings = SMALL | {"objective": "scores", "accumulate": 2}
    run = tinylm.train(data, task="embeddings", out=tmp_path / "run", notify=told.append, **settings)
    assert any("scores up to 5: divided by that" in line for line in told)
    assert {"val_spearman", "val_pearson", "val_loss"} <= run.best_metrics().keys()
    assert "best_val_spearman" in run.trainer.memory
    assert tinylm.load(run.best).evaluate(data).keys() == {"spearman", "pearson"}


def test_texts_alone_are_enough_and_a_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    data.write_text("\n".join(a for a, _ in PAIRS))
    settings = SMALL | {"steps": 4, "objective": "texts", "validate_every": 2, "checkpoint_every": 2}
    whole = tinylm.train(data, task="embeddings", out=tmp_path / "whole", **settings)

    def stop(trainer, result) -> None:
        if trainer.step == 2:
            trainer.stop("enough")

    tinylm.train(data, task="embeddings", out=tmp_path / "parts", callbacks=[stop], **settings)
    parts = tinylm.train(resume=tmp_path / "parts")
    first, second = whole.model.state_dict(), parts.model.state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert whole.best_metrics().keys() >= {"val_loss"}


def test_a_run_begins_with_an_encoder_and_leaves_its_pooler(pairs: Path, tmp_path: Path) -> None:
    base = tinylm.train(pairs, task="embeddings", out=tmp_path / "base", pooling="first", **SMALL)
    config = replace(tinylm.load(base.best).config, add_pooling_layer=True)
    model = Bert(config, Initializer(1))
    save_model(tmp_path / "bert", model, base.tokenizer, pooling=Pooling("max"))
    assert tinylm.load(tmp_path / "bert").evaluate(pairs).keys() >= {"recall@1", "mrr"}
    few = {"steps": 2, "batch_size": 8, "context": 12, "learning_rate": 1e-2}
    run = tinylm.train(pairs, task="embeddings", init=tmp_path / "bert", out=tmp_path / "run", **few)
    assert read_pooling(run.best).mode == "max"
    before, after = model.state_dict(), tinylm.load(run.best).model.state_dict()
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert {"pooler.weight", "pooler.bias"} <= same
    assert "blocks.0.attention.qkv.weight" not in same
    adapted = tinylm.train(pairs, task="embeddings", init=base.best, out=tmp_path / "lora", lora_rank=2, **few)
    assert tinylm.load(adapted.best).pooling == Pooling("first", normalize=True, max_tokens=12)


def test_negatives_and_repeats_are_read_and_counted(tmp_path: Path) -> None:
    rows = [{"query": a, "positive": b, "neg": ["no", a[::-1]] if at % 2 else "no"} for at, (a, b) in enumerate(PAIRS)]
    data, told = write(tmp_path / "triples.jsonl", [*rows, rows[0], {"query": "x", "positive": None, "neg": "no"}]), []
    run = tinylm.train(data, task="embeddings", out=tmp_path / "run", notify=told.append, **SMALL)
    assert any("left out 1 of 52 records that repeat" in line for line in told)
    assert any("skipped 1 of 52 records" in line for line in told)
    batch = run.kind.task.batch(0, slice(0, 8))
    assert len(batch.anchors) == 8
    assert len(batch.documents) > 16
    with pytest.raises(TinylmError, match=r"triples.jsonl:52: 'positive' is null"):
        tinylm.train(data, task="embeddings", out=tmp_path / "strict", strict=True, **SMALL)


@pytest.mark.parametrize(
    ("row", "settings", "words"),
    [
        ({"text": "a"}, {}, "no column for 'positive'"),
        ({"anchor": "a", "positive": "b", "score": 1}, {}, "--set objective=scores learns them"),
        ({"anchor": "a", "positive": "b"}, {"objective": "scores"}, "no column for 'score'"),
    ],
)
def test_data_that_say_something_else_are_refused(tmp_path: Path, row, settings, words: str) -> None:
    rows = [{name: f"{value} {at}" if value != 1 else 1 for name, value in row.items()} for at in range(12)]
    with pytest.raises(TinylmError, match=words):
        tinylm.train(write(tmp_path / "x.jsonl", rows), task="embeddings", out=tmp_path / "r", **SMALL | settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"accumulate": 2}, "told from all others of its batch"),
        ({"objective": "pear"}, "objective is 'pear'"),
        ({"temperature": 0.0}, "temperature is 0.0, expected more than 0"),
        ({"objective": "texts", "dropout": 0.0}, "takes more than dropout=0"),
        ({"pooling": "last"}, "pooling is 'last'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(TinylmError, match=words):
        choose_settings(None, {"task": "embeddings", **settings})


def test_vectors_are_made_by_encoders(pairs: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "gpt", GPT2(GPT2Config(40, n_positions=8, n_embd=8, n_layer=1, n_head=1), Initializer(0)))
    with pytest.raises(TinylmError, match="made by encoders: bert, distilbert; this is gpt2"):
        tinylm.train(pairs, task="embeddings", init=tmp_path / "gpt", out=tmp_path / "run")
