"""Span corruption from text to what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.data import IGNORE, CorpusTokens
from tinylm.errors import TinylmError
from tinylm.tasks import Source, continue_model
from tinylm.tasks.spans import SpanCorruption, sentinel_ids
from tinylm.text import ByteTokenizer, load_tokenizer, train_unigram, with_sentinels

TEXT = "the cat sat on the mat. the dogs lay on the rugs! " * 80
SMALL = {"layers": 1, "heads": 2, "width": 32, "context": 20, "batch_size": 16, "vocab_size": 300, "validate_every": 60}


@pytest.fixture(autouse=True)
def caches(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spans")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    return tinylm.train(folder / "text.txt", task="spans", out=folder / "run", steps=120, **SMALL)


def test_it_learns_what_is_left_out_and_writes_it_after_its_sentinel(run) -> None:
    lm = tinylm.load(run.folder)
    assert lm.model.architecture == "T5ForConditionalGeneration"
    assert run.best_metrics()["val_accuracy"] > 0.5
    assert lm.generate("the cat <extra_id_0> the mat. the", temperature=0, max_tokens=6).startswith("<extra_id_0>")
    text, left_out, said = run.last_sample().splitlines()
    assert "<extra_id_0>" in text
    assert left_out.startswith("left out: <extra_id_0>")
    assert said.startswith("said: <extra_id_0>")


def test_a_run_may_begin_with_it(run, tmp_path: Path) -> None:
    model, new = continue_model(tinylm.formats.open_model(run.best), head="conditional", seed=0)
    assert not new
    settings = {"steps": 1, "learning_rate": 0.0, "batch_size": 4, "context": 20}
    again = tinylm.train(run.folder.parent / "text.txt", task="spans", init=run.best, out=tmp_path / "run", **settings)
    assert again.model.num_parameters() == model.num_parameters()
    assert again.best_metrics()["val_loss"] == pytest.approx(run.best_metrics()["val_loss"], rel=1e-5)


def test_another_text_is_measured_window_by_window(run, tmp_path: Path) -> None:
    lm = tinylm.load(run.best)
    assert lm.task == {"name": "spans", "context": SMALL["context"], "left_out": 0.15, "span_length": 3.0}
    (tmp_path / "other.txt").write_text(TEXT[:900], encoding="utf-8")
    scores = lm.measure(tmp_path / "other.txt")
    ids = lm.tokenizer.encode(TEXT[:900])
    split, _ = CorpusTokens(ids.astype(np.uint16), lm.tokenizer.byte_lengths()).split(0.0)
    task = SpanCorruption([Source("", split, split)], lm.tokenizer, batch_size=1, context=SMALL["context"])
    whole = range((len(ids) - 1) // SMALL["context"])
    windows = np.stack([ids[n * SMALL["context"] :][: SMALL["context"]] for n in whole])
    corrupted = task.hide(windows, seed=0, step=0, first_row=0)
    assert len(scores) == len(windows)
    assert scores.result()["loss"] == pytest.approx(task.loss(lm.model, corrupted).item(), rel=1e-5)
    assert {"loss", "perplexity", "accuracy"} <= scores.intervals(resamples=20).keys()
    (tmp_path / "short.txt").write_text("the", encoding="utf-8")
    with pytest.raises(TinylmError, match="to be measured it takes"):
        lm.measure(tmp_path / "short.txt")


def test_rows_are_the_same_in_slices_and_spans_return_in_their_places() -> None:
    tokenizer = with_sentinels(train_unigram([TEXT], 300), 5)
    ids = tokenizer.encode(TEXT).astype(np.uint16)
    train, validation = CorpusTokens(ids, tokenizer.byte_lengths()).split(0.2)
    task = SpanCorruption([Source("", train, validation)], tokenizer, batch_size=6, context=20, left_out=0.4)
    source, mask, targets = task.batch(3, slice(0, 6))
    for rows in (slice(0, 2), slice(2, 6)):
        part, part_mask, part_targets = task.batch(3, rows)
        for row, number in enumerate(range(rows.start, rows.stop)):
            assert np.array_equal(part[row][part_mask[row]], source[number][mask[number]])
            kept = part_targets[row] != IGNORE
            assert np.array_equal(part_targets[row][kept], targets[number][targets[number] != IGNORE])
    windows, _ = task._batches.train_batch(3)
    assert np.array_equal(restored(source[0][mask[0]], targets[0], tokenizer), windows[0])


def restored(source: np.ndarray, target: np.ndarray, tokenizer) -> np.ndarray:
    """The text, from what was left and what was left out."""
    sentinels, spans, at = set(sentinel_ids(tokenizer)), {}, None
    for id in target[target != IGNORE][:-1].tolist():
        at = id if id in sentinels else at
        spans.setdefault(at, []).extend([] if id in sentinels else [id])
    return np.array([part for id in source[:-1].tolist() for part in (spans[id] if id in sentinels else [id])])


def test_a_tokenizer_gets_sentinels_once_and_keeps_them_in_its_file(tmp_path: Path) -> None:
    plain = train_unigram([TEXT], 300)
    marked = with_sentinels(plain, 3)
    assert marked.vocab_size == plain.vocab_size + 4
    assert [marked.token(id) for id in sentinel_ids(marked)] == ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
    assert with_sentinels(marked, 9) is marked
    marked.save(tmp_path)
    assert sentinel_ids(load_tokenizer(tmp_path)) == sentinel_ids(marked)
    assert marked.inputs("the cat").ids[-1] == marked.end_of_text
    assert np.array_equal(marked.encode("the cat"), plain.encode("the cat"))
    with pytest.raises(TinylmError, match="takes no special tokens; one of the kind unigram does"):
        with_sentinels(ByteTokenizer(), 3)
    with pytest.raises(TinylmError, match="lacks <pad>"):
        SpanCorruption([], plain, batch_size=1, context=8)
