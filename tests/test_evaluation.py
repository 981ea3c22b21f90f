"""Models measured side by side: the figures of each, how sure they are, and which is better."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tinylm
import tinylm_kernels as K
from tinylm.cli import main
from tinylm.data import open_corpus
from tinylm.errors import TinylmError
from tinylm.evaluation import Evaluation, evaluate
from tinylm.metrics import Scores, classification

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 16, "batch_size": 4, "warmup": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A text, a model that has learnt from it, one that has not, and one with tokens of its own."""
    base = tmp_path_factory.mktemp("evaluation")
    (base / "text.txt").write_text("今天天气很好, the cat sat. " * 60, encoding="utf-8")
    for name, settings in {
        "learnt": {"steps": 30},
        "new": {"steps": 1},
        "other": {"steps": 1, "tokenizer": "bytes"},
    }.items():
        tinylm.train(base / "text.txt", out=base / name, **SMALL, **settings)
    return base


def test_the_sums_over_windows_are_those_over_all_tokens(folder: Path) -> None:
    lm = tinylm.load(folder / "learnt")
    scores = lm.measure(folder / "text.txt")
    ids = np.asarray(lm.tokenizer.encode(next(open_corpus(folder / "text.txt").documents())))
    starts = range(0, len(ids) - 1, 16)
    losses = [
        K.cross_entropy(lm.logits(ids[None, start : start + 17][:, :-1])[0], ids[start + 1 : start + 17])
        for start in starts
    ]
    assert len(scores) == len(starts)
    assert scores.result()["loss"] == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)
    assert scores.result() == lm.evaluate(folder / "text.txt")
    n_bytes = len(lm.tokenizer.decode(ids[1:]).encode())
    assert scores.rows[:, 3].sum() == n_bytes
    nats = scores.result()["loss"] * (len(ids) - 1)
    assert scores.result()["bits_per_byte"] == pytest.approx(nats / math.log(2) / n_bytes)


def test_models_are_compared_where_they_read_the_same_windows(folder: Path) -> None:
    names = [str(folder / name) for name in ("new", "learnt", "other")]
    found = evaluate(names, [folder / "text.txt"], resamples=100)
    assert list(found.comparisons()) == [names[1]]
    loss = found.comparisons()[names[1]]["loss"]
    assert loss.low <= loss.difference <= loss.high < 0
    assert loss.p < 0.02
    assert found.best("loss") == names[1]
    assert found.best("accuracy") == names[1]
    with pytest.raises(TinylmError, match="each once"):
        evaluate([names[0], names[0]], [folder / "text.txt"])


def test_the_table_shows_every_model_and_a_file_keeps_every_figure(folder: Path, capsys) -> None:
    names = [str(folder / name) for name in ("new", "learnt", "other")]
    out = folder / "figures.json"
    assert main(["eval", *names, str(folder / "text.txt"), "--resamples", "50", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    header, loss = printed.splitlines()[:2]
    assert header.split() == names
    assert loss.split()[0] == "loss"
    assert loss.count("[") == 3
    assert printed.count(" *") == 5  # one best value a figure
    assert f"{names[1]} minus {names[0]}, on the same examples" in printed
    assert "models that read other windows are not compared" in printed
    figures = json.loads(out.read_text())
    assert [model["model"] for model in figures["models"]] == names
    assert figures["against_the_first"][names[1]]["loss"]["p"] == pytest.approx(1 / 51)


def test_what_is_missing_is_said(folder: Path, capsys) -> None:
    assert main(["eval", str(folder / "new"), str(folder / "learnt")]) == 2
    assert "no data after the models" in capsys.readouterr().err
    assert main(["eval", str(folder / "new"), str(folder / "text.txt"), "--json", str(folder / "no" / "a.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_what_is_undefined_is_null_and_never_the_best() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    one = classification(sure[:1], ["a"], ["a", "b"])
    both = classification(sure, ["a", "b"], ["a", "b"])
    found = Evaluation({"one": one, "both": both}, resamples=20)
    assert found.best("auc") == "both"
    model = found.to_json()["models"][0]
    assert model["metrics"]["auc"] is None
    assert model["intervals"]["accuracy"] == [None, None]
    assert not found.comparisons()
    json.dumps(found.to_json(), allow_nan=False)


def test_rows_that_are_of_other_examples_are_not_compared() -> None:
    scores = classification(["a", "b"], ["a", "a"])
    with pytest.raises(TinylmError, match="the same examples"):
        scores.compare(Scores(scores.rows, scores.figures, "others"))
