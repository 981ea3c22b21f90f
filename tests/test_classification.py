"""Classification from records to labels."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.cli import main
from tinylm.data import LengthBuckets, open_records
from tinylm.errors import TinylmError
from tinylm.inference import classifier_inputs, encode_text
from tinylm.models import FAMILIES, label_loss
from tinylm.nn import Initializer
from tinylm.optim import SGD
from tinylm.tasks import choose_settings, new_model, resolve_settings
from tinylm.tasks.classification import Examples, LabelTask
from tinylm.text import ByteTokenizer, Inputs, train_bpe, train_wordpiece
from tinylm.training import Trainer

SIZES = {"layers": 1, "heads": 2, "width": 32, "embedding": 32, "context": 24, "vocab_size": 100, "batch_size": 16}
SMALL = {**SIZES, "task": "classification", "steps": 60, "validate_every": 20, "dropout": 0.0}
WORDS = ["the", "film", "was", "a", "story", "about", "people", "and", "music"]
TELLING = {"good": ["great", "lovely"], "bad": ["dull", "awful"]}


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A table in which one word decides, and one label is rarer."""
    rng, rows = random.Random(0), []
    for number in range(240):
        label = "good" if number % 3 == 0 else "bad"
        text = [rng.choice(WORDS) for _ in range(rng.randint(3, 12))]
        text.insert(rng.randrange(len(text)), rng.choice(TELLING[label]))
        rows.append(f"{label}\t{' '.join(text)}")
    path = tmp_path_factory.mktemp("films") / "films.tsv"
    path.write_text("\n".join(["verdict\tbody", *rows]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(films: Path):
    return tinylm.train(films, out=films.parent / "run", model="llama", **SMALL)


def test_it_learns_labels_and_the_folder_knows_their_names(run) -> None:
    lm = tinylm.load(run.folder)
    assert lm.config.id2label == {"0": "bad", "1": "good"}
    assert lm.model.architecture == "LlamaForSequenceClassification"
    one, two = lm.classify(["a lovely story", "AWFUL people!"])
    assert (one.label, two.label) == ("good", "bad")
    assert one.labels == ("good",)
    assert sum(one.probabilities.values()) == pytest.approx(1)
    assert lm.classify("a lovely story").probability == pytest.approx(one.probability, rel=1e-5)
    metrics = run.best_metrics()
    assert metrics["val_accuracy"] == metrics["val_f1_macro"] == 1.0
    assert {"val_calibration_error", "val_brier", "val_auc", "val_f1_weighted"} <= set(metrics)
    matrix = [line.split() for line in run.last_sample().splitlines()]
    assert [row[0] for row in matrix[1:]] == ["bad", "good"]
    assert sum(int(cell) for row in matrix[1:] for cell in row[1:]) == 24


@pytest.mark.parametrize(
    "model", ["lstm", *[pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "gpt2", "gpt_neox", "gru")]]
)
def test_every_family_learns_it(films: Path, tmp_path: Path, model: str) -> None:
    settings = {**SMALL, "steps": 150, "learning_rate": 5e-3, "initial_std": 0.1, "class_weights": "balanced"}
    made = tinylm.train(films, out=tmp_path / "run", model=model, **settings)
    assert made.best_metrics()["val_f1_macro"] > 0.85
    assert tinylm.load(made.best).classify("lovely lovely music").label == "good"


def test_what_is_guessed_counted_and_cut_is_told(films: Path, tmp_path: Path) -> None:
    said: list[str] = []
    tinylm.train(films, out=tmp_path / "run", notify=said.append, model="gpt2", **{**SMALL, "steps": 1, "context": 6})
    told = "\n".join(said)
    assert "text from 'body', label from 'verdict'" in told
    assert "bad 160, good 80" in told
    assert "fill the context of 6" in told
    assert "216 texts to train on, 24 held out, 2 labels" in told


def test_eval_measures_a_classifier_on_other_data(run, films: Path, tmp_path: Path, capsys) -> None:
    lm = tinylm.load(run.best)
    metrics = lm.evaluate(films)
    said = [
        found.label
        for found in lm.classify(list(open_records(films, {"text": None}, deduplicate=False).column("text")))
    ]
    right = [line.split("\t")[0] for line in films.read_text(encoding="utf-8").splitlines()[1:]]
    assert metrics["accuracy"] == np.mean([a == b for a, b in zip(said, right, strict=True)])
    assert main(["eval", str(run.best), str(films), "--text-column", "body", "--label-column", "verdict"]) == 0
    assert "f1_macro" in capsys.readouterr().out
    with pytest.raises(TinylmError, match="nothing"):
        lm.measure(films, label_column="nothing")
    (tmp_path / "other.csv").write_text("text,label\na b,new\nc d,good\n", encoding="utf-8")
    with pytest.raises(TinylmError, match="the label 'new' is none of 'bad', 'good'"):
        lm.measure(tmp_path / "other.csv")


def test_several_labels_a_text(tmp_path: Path) -> None:
    rng = random.Random(1)
    rows = []
    for _ in range(240):
        tags = sorted(tag for tag in ("red", "blue", "old") if rng.random() < 0.4)
        rows.append({"text": " ".join(rng.sample([*WORDS, *tags], len(WORDS) + len(tags))), "tags": tags})
    (tmp_path / "tags.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    settings = {**SMALL, "steps": 140, "learning_rate": 1e-2, "initial_std": 0.1}
    run = tinylm.train(tmp_path / "tags.jsonl", out=tmp_path / "run", model="bert", **settings)
    assert run.best_metrics()["val_f1_micro"] > 0.8
    lm = tinylm.load(run.best)
    assert lm.config.problem_type == "multi_label_classification"
    both, none = lm.classify(["the red and blue film", "the film was a story"])
    assert set(both.labels) == {"red", "blue"}
    assert none.labels == ()
    with pytest.raises(TinylmError, match="one label each"):
        tinylm.train(tmp_path / "tags.jsonl", out=tmp_path / "x", class_weights="balanced", **settings)


def test_pairs_of_texts_and_a_separator_of_labels(tmp_path: Path, capsys) -> None:
    rng, rows = random.Random(2), ["first,second,label"]
    for _ in range(120):
        a, b = rng.choice(WORDS), rng.choice(WORDS)
        rows.append(f"{a} {rng.choice(WORDS)},{b},{'same' if a == b else 'other'}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
    named = ["--text-column", "first", "--pair-column", "second", "--set", "label_separator=|"]
    small = [word for name, value in {**SMALL, "steps": 3}.items() for word in ("--set", f"{name}={value}")]
    assert main(["train", str(tmp_path / "pairs.csv"), *named, *small, "--out", str(tmp_path / "run")]) == 0
    assert '--pair "..."' in capsys.readouterr().out
    assert tinylm.load(tmp_path / "run").task == {"name": "classification", "pairs": True}
    assert main(["classify", str(tmp_path / "run"), "the film", "--pair", "music"]) == 0
    assert capsys.readouterr().out.endswith("the film\n")
    assert main(["classify", str(tmp_path / "run"), "the film"]) == 2
    assert "--pair" in capsys.readouterr().err


def test_classify_reads_texts_and_files(run, films: Path, tmp_path: Path, capsys) -> None:
    assert main(["classify", str(run.best), "great film"]) == 0
    assert capsys.readouterr().out.startswith("good\t")
    (tmp_path / "new.txt").write_text("a lovely film\n\nan awful film\n", encoding="utf-8")
    assert main(["classify", str(run.best), str(tmp_path / "new.txt")]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["good", "bad"]
    assert main(["classify", str(run.best), str(films), "--text-column", "body", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 240
    assert set(found[0]["probabilities"]) == {"good", "bad"}


MISTAKES = {
    "no data": ({}, "the task classification needs data: files with text and label"),
    "one label": ({"label_column": "same"}, "nothing to tell apart"),
    "no such column": ({"label_column": "lable"}, "lable"),
    "weights": ({"class_weights": "heavy"}, "class_weights is 'heavy'; there are none, balanced"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_leaves_no_run(tmp_path: Path, name: str) -> None:
    settings, words = MISTAKES[name]
    path = tmp_path / "data.csv"
    path.write_text("text,label,same\n" + "".join(f"text {i},{i % 2},x\n" for i in range(20)), encoding="utf-8")
    with pytest.raises(TinylmError, match=words):
        tinylm.train(() if name == "no data" else path, out=tmp_path / "run", **SMALL, **settings)
    assert not (tmp_path / "run").exists()


def test_a_model_without_labels_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat. " * 60, encoding="utf-8")
    small = {"layers": 1, "heads": 2, "width": 16, "context": 8, "steps": 1}
    lm = tinylm.load(tinylm.train(tmp_path / "a.txt", out=tmp_path / "run", **small).best)
    with pytest.raises(TinylmError, match="GPT2LMHeadModel gives no labels"):
        lm.classify("the cat")


def test_fine_tuning_takes_the_body_and_makes_a_new_head(run, films: Path, tmp_path: Path) -> None:
    """From a language model, and from a classifier, whose head fits."""
    said: list[str] = []
    (tmp_path / "a.txt").write_text("the film was a great story. " * 60, encoding="utf-8")
    small = {"layers": 1, "heads": 2, "width": 16, "context": 16, "steps": 1, "tokenizer": "bpe", "vocab_size": 300}
    base = tinylm.train(tmp_path / "a.txt", out=tmp_path / "base", **small)
    start = {"task": "classification", "steps": 1, "learning_rate": 0.0, "context": 16, "notify": said.append}
    tuned = tinylm.train(films, init=base.best, out=tmp_path / "tuned", **start)
    assert any("has no score.weight" in line for line in said)
    before, after = tinylm.load(base.best).model.state_dict(), tinylm.load(tuned.best).model.state_dict()
    assert all(np.array_equal(array, after[f"body.{name}"]) for name, array in before.items())
    again = tinylm.train(films, init=run.best, out=tmp_path / "again", **start)
    first, second = (tinylm.load(folder).model.state_dict() for folder in (run.best, again.best))
    assert all(np.array_equal(first[name], second[name]) for name in first)


# What the trainer takes.


def encoded(*lengths: int) -> list[Inputs]:
    rng = np.random.default_rng(0)
    rows = [rng.integers(1, 50, length).astype(np.int32) for length in lengths]
    return [Inputs(row, np.zeros_like(row), np.ones(len(row), bool)) for row in rows]


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "lstm"])
def test_slices_of_a_batch_and_other_padding_give_the_gradients_of_the_whole(family: str) -> None:
    settings = resolve_settings({**SMALL, "data": ["x"], "model": family, "tie_embeddings": False})
    weights = {"a": 0.5, "b": 3.0}
    steps = []
    for accumulate in (1, 3):
        model = new_model(settings, 50, head="classification", problem_type="single_label_classification")
        rows = encoded(3, 9, 1, 7, 7, 2, 5)
        task = LabelTask(Examples(rows, list("abababa")), Examples([], []), "ab", batch_size=6, class_weights=weights)
        model.astype(np.float64)
        trainer = Trainer(model, task, SGD(list(model.parameters())), lambda step: 0.1, steps=1, accumulate=accumulate)
        result = trainer.train_step()
        steps.append((result, {name: p.grad.copy() for name, p in model.named_parameters()}))
    (whole, gradients), (sliced, parts) = steps
    assert whole.loss == pytest.approx(sliced.loss, rel=1e-12)
    assert all(np.allclose(gradients[name], parts[name], rtol=1e-9, atol=1e-14) for name in gradients)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "gpt_neox", "lstm", "gru"])
def test_a_text_gets_the_same_logits_whatever_it_is_padded_to(family: str) -> None:
    settings = resolve_settings({**SMALL, "data": ["x"], "model": family, "tie_embeddings": False})
    model = new_model(settings, 50, head="classification").astype(np.float64)
    rows = encoded(3, 9, 1)
    together = [model(ids, **seen).data for ids, seen in (classifier_inputs(model, rows, length) for length in (9, 14))]
    alone = [model(row.ids[None]).data[0] for row in rows]
    for padded in together:
        assert np.allclose(padded, alone, rtol=1e-9, atol=1e-12)


def test_padding_on_the_left_of_a_causal_classifier_is_refused() -> None:
    model = new_model(resolve_settings({**SMALL, "data": ["x"], "model": "gpt2"}), 50, head="classification")
    with pytest.raises(ValueError, match="padding belongs on the right"):
        model(np.ones((1, 3), int), key_mask=np.array([[False, True, True]]))


def test_values_are_a_regression() -> None:
    config = {**FAMILIES["bert"].config_class(50, hidden_size=8, num_attention_heads=2, num_hidden_layers=1).__dict__}
    config |= {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "score"}}
    model = FAMILIES["bert"].from_settings(config, Initializer(0))
    logits = model(np.array([[1, 2], [3, 4]]))
    loss = label_loss(logits, np.array([1.0, 2.0]))
    assert loss.item() == pytest.approx(np.mean((logits.data[:, 0] - [1, 2]) ** 2), rel=1e-6)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 2**64 - 1))
def test_an_epoch_takes_each_text_once_at_most_in_batches_of_like_lengths(lengths, batch_size, seed) -> None:
    buckets = LengthBuckets(np.array(lengths), batch_size=batch_size, seed=seed)
    epoch = [buckets.rows(step).tolist() for step in range(buckets.batches)]
    again = LengthBuckets(np.array(lengths), batch_size=batch_size, seed=seed)
    later = again.rows(buckets.batches + 3).tolist()  # asked for in another order
    assert [again.rows(step).tolist() for step in range(buckets.batches)] == epoch
    assert buckets.rows(buckets.batches + 3).tolist() == later
    taken = sorted(number for batch in epoch for number in batch)
    assert len(taken) == buckets.batches * batch_size
    if len(lengths) >= batch_size:
        assert len(set(taken)) == len(taken) > len(lengths) - batch_size
    spans = sorted((min(lengths[n] for n in batch), max(lengths[n] for n in batch)) for batch in epoch)
    if len(lengths) <= 32 * batch_size:  # one chunk
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_texts_are_encoded_as_their_tokenizer_marks_them() -> None:
    wordpiece, bpe = train_wordpiece(["the cat sat on the mat " * 9], 40), train_bpe(["the cat sat " * 9], 270)
    pair = encode_text(wordpiece, "the cat", "sat", 24)
    assert [wordpiece.token(int(i)) for i in pair.ids if int(i) in wordpiece.special_ids] == ["[CLS]", "[SEP]", "[SEP]"]
    assert set(pair.type_ids) == {0, 1}
    assert bpe.decode(encode_text(bpe, "the cat", "sat", None).ids) == "the cat\nsat"
    assert len(encode_text(bpe, "the cat sat", None, 2).ids) == 2
    assert len(encode_text(wordpiece, "the cat sat on the mat", None, 5).ids) == 5
    assert encode_text(bpe, "", None, 4).ids.tolist() == [bpe.end_of_text]
    assert encode_text(ByteTokenizer(), "", None, 4).ids.tolist() == [0]


def test_the_preset_of_a_model_fits_it() -> None:
    assert choose_settings(None, {"task": "classification", "data": ["x"], "model": "llama"}).dropout == 0.0
    assert choose_settings(None, {"task": "classification", "data": ["x"]}).model == "bert"
    with pytest.raises(TinylmError, match="no preset 'nanogpt-cpu'"):
        choose_settings("nanogpt-cpu", {"task": "classification", "data": ["x"]})
