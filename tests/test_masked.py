"""Masked language modelling from text to filled-in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.cli import main
from tinylm.data import IGNORE, CorpusTokens
from tinylm.errors import TinylmError
from tinylm.tasks import Source
from tinylm.tasks.masked import MaskedLanguageModelling, begins_words
from tinylm.text import CharTokenizer, train_bpe, train_unigram, train_wordpiece

TEXT = "the cat sat on the mat. the dogs lay on the rugs! " * 40
SIZES = {"layers": 1, "heads": 2, "width": 32, "context": 18, "batch_size": 16, "vocab_size": 60}
SMALL = {**SIZES, "validate_every": 50, "initial_std": 0.2}


@pytest.fixture(autouse=True)
def caches(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    settings = {**SMALL, "task": "masked", "steps": 200, "learning_rate": 1e-2}
    return tinylm.train(folder / "text.txt", out=folder / "run", **settings)


def test_it_learns_what_is_hidden_and_says_so_in_order(run) -> None:
    lm = tinylm.load(run.folder)
    first, second = lm.fill("the cat [MASK] on the [MASK] .", k=4)
    assert {filling.text for filling in first[:2]} == {"sat", "lay"}
    assert len(first) == len(second) == 4
    assert first[0].probability > first[1].probability
    everything = lm.fill("the [MASK]", k=lm.tokenizer.vocab_size)[0]
    assert sum(filling.probability for filling in everything) == pytest.approx(1, abs=1e-5)
    assert lm.task == {"name": "masked"}
    assert run.best_metrics()["val_accuracy"] > 0.45
    assert "[MASK]" in run.last_sample()


def test_eval_measures_it_on_other_data_and_language_models_as_ever(run, tmp_path: Path) -> None:
    lm = tinylm.load(run.best)
    metrics = lm.evaluate(run.folder.parent / "text.txt")
    assert 0.45 < metrics["accuracy"] <= 1
    assert len(lm.measure(run.folder.parent / "text.txt")) > 10
    with pytest.raises(TinylmError, match="plain text has no label_column"):
        lm.measure(run.folder.parent / "text.txt", label_column="x")


def test_fill_prints_places_and_tells_mistakes_in_one_line(run, capsys) -> None:
    assert main(["fill", str(run.best), "the cat [MASK] on the mat .", "-k", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("place 1:\n")
    assert "%  sat" in out or "%  lay" in out
    for text, words in (("the cat", "write [MASK] where"), ("[MASK]" + " cat" * 30, "the model can look at 18")):
        assert main(["fill", str(run.best), text]) == 2
        assert words in capsys.readouterr().err


def test_a_model_of_another_kind_and_a_tokenizer_without_a_mask_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(TinylmError, match="has no mask_token"):
        tinylm.train(tmp_path / "text.txt", task="masked", out=tmp_path / "run", **{**SMALL, "tokenizer": "chars"})
    other = tinylm.train(
        tmp_path / "text.txt", out=tmp_path / "run", steps=1, tokenizer="wordpiece", **{**SMALL, "validate_every": 1}
    )
    with pytest.raises(TinylmError, match="GPT2LMHeadModel predicts no masked tokens"):
        tinylm.load(other.best).fill("the [MASK]")


def task(**settings) -> MaskedLanguageModelling:
    tokenizer = train_wordpiece([TEXT], 60)
    ids = tokenizer.encode(TEXT).astype(np.uint16)
    train, validation = CorpusTokens(ids, tokenizer.byte_lengths()).split(0.2)
    return MaskedLanguageModelling([Source("", train, validation)], tokenizer, batch_size=6, context=18, **settings)


@pytest.mark.parametrize("whole_words", [False, True])
def test_rows_of_a_batch_are_the_same_in_slices_and_special_tokens_are_never_hidden(whole_words: bool) -> None:
    hiding = task(whole_words=whole_words)
    inputs, targets = hiding.batch(3, slice(0, 6))
    parts = [hiding.batch(3, rows) for rows in (slice(0, 2), slice(2, 6))]
    assert np.array_equal(inputs, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(targets, np.concatenate([part[1] for part in parts]))
    assert inputs.shape == (6, 18)
    assert not np.isin(targets, hiding.tokenizer.special_ids).any()
    assert {hiding.tokenizer.token(int(i)) for i in inputs[:, 0]} == {"[CLS]"}
    assert hiding.count((inputs, targets)) == (targets != IGNORE).sum() > 0


def test_words_are_known_by_spaces_signs_and_chinese_characters() -> None:
    text = "cats sat, the cat and the mats. 天气很好 "
    for tokenizer in (train_wordpiece([text * 9], 60), train_bpe([text * 9], 300), train_unigram([text * 9], 310)):
        begins = begins_words(tokenizer)
        ids = tokenizer.encode(" the cat, 天气").tolist()
        spelt = "".join(("|" if begins[i] else "") + tokenizer.token_bytes(i).decode() for i in ids)
        assert spelt.replace(" ", "").removeprefix("|").replace("||", "|") == "the|cat|,|天|气", tokenizer


def test_the_characters_of_a_char_tokenizer_hold_no_mask() -> None:
    with pytest.raises(TinylmError, match="mask_token"):
        MaskedLanguageModelling([], CharTokenizer("ab"), batch_size=1, context=8)
