"""Runs with tokenizers that are learnt, used again, and kept with the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinylm
from tinylm.cli import main
from tinylm.data import open_corpus, tokenize_corpus
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import read_safetensors
from tinylm.inference import first_ids
from tinylm.text import END_OF_TEXT, load_tokenizer, train_bpe

SMALL = {"layers": 1, "heads": 2, "width": 16, "context": 8, "batch_size": 4, "warmup": 0.1}
SMALL |= {"validate_every": 10, "checkpoint_every": 10, "steps": 20}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. 今天天气很好 " * 60, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch) -> None:
    """Token files of the tests do not go to the user's cache."""
    monkeypatch.setattr("tinylm.tasks.text.cache_folder", lambda: tmp_path / "cache")


def test_a_run_learns_its_tokenizer_and_keeps_it(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", tokenizer="bpe", vocab_size=270, **SMALL)
    expected = train_bpe([text.read_text(encoding="utf-8")], 270).to_json()
    assert run.tokenizer.to_json() == expected
    for folder in (run.folder, run.best):
        assert load_tokenizer(folder).to_json() == expected
    lm = tinylm.load(run.folder)
    assert (lm.config.bos_token_id, lm.config.eos_token_id) == (None, 269)  # it never sees how a text begins
    generation = json.loads((run.best / "generation_config.json").read_text(encoding="utf-8"))
    assert generation == {"eos_token_id": 269}
    assert isinstance(lm.generate("the cat", max_tokens=5, seed=0), str)
    assert lm.next("the cat", 1)[0].text


def test_a_model_of_several_texts_begins_one_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.txt").write_text(f"the cat sat on mat {number}.\n", encoding="utf-8")
    run = tinylm.train(folder, out=tmp_path / "run", tokenizer="bpe", vocab_size=270, **SMALL)
    lm = tinylm.load(run.folder)
    end = lm.tokenizer.end_of_text
    assert lm.config.bos_token_id == lm.config.eos_token_id == end
    assert first_ids(lm.model, lm.tokenizer) == first_ids(run.model, run.tokenizer) == [end]
    assert lm.generate("", max_tokens=5, seed=1) != lm.generate("\n", max_tokens=5, seed=1)


def test_generation_stops_at_the_end_of_a_text(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", tokenizer="bpe", vocab_size=270, **SMALL)
    lm = tinylm.load(run.folder)
    end = lm.config.eos_token_id
    embedding = dict(lm.model.named_parameters())["tokens.weight"]
    embedding.data = np.array(embedding.data)
    hidden = lm.model.hidden(np.array([lm.tokenizer.encode("the")])).data[0, -1]
    embedding.data[end] = 100 * hidden
    assert lm.generate("the", max_tokens=50, temperature=0) == ""


@pytest.mark.parametrize("kind", ["bpe", "path"])
def test_a_resume_uses_the_tokenizer_of_the_run_and_gives_the_same_bits(
    text: Path, tmp_path: Path, monkeypatch, kind: str
) -> None:
    saved = train_bpe(["the cat sat on the mat. " * 9], 262).save(tmp_path / "saved")
    settings = {**SMALL, "tokenizer": "bpe" if kind == "bpe" else str(saved), "vocab_size": 265}
    tinylm.train(text, out=tmp_path / "whole", **settings)

    def stop(trainer, result) -> None:
        if trainer.step == 10:
            trainer.stop("for a test")

    tinylm.train(text, out=tmp_path / "parts", callbacks=[stop], **settings)
    saved.unlink()  # nothing but the run's own is needed
    monkeypatch.setattr("tinylm.tasks.tokenizers.LEARNT", {})
    tinylm.train(resume=tmp_path / "parts")
    arrays = []
    for name in ("whole", "parts"):
        newest = sorted((tmp_path / name / "checkpoints").iterdir())[-1]
        arrays.append(read_safetensors(newest / "arrays.safetensors"))
    assert all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


def test_a_resume_learns_the_tokenizer_again_where_the_run_has_not_kept_it(text: Path, tmp_path: Path) -> None:
    run = tinylm.train(text, out=tmp_path / "run", tokenizer="bpe", vocab_size=265, **SMALL)
    before = run.tokenizer.to_json()
    (run.folder / "tokenizer.json").unlink()
    assert tinylm.train(resume=run.folder).tokenizer.to_json() == before


def test_a_tokenizer_is_used_again_from_a_run_a_model_or_a_file(text: Path, tmp_path: Path) -> None:
    first = tinylm.train(text, out=tmp_path / "first", tokenizer="bpe", vocab_size=265, **SMALL)
    for number, place in enumerate([first.folder, first.best, first.folder / "tokenizer.json"]):
        run = tinylm.train(text, out=tmp_path / str(number), tokenizer=place, **SMALL)
        assert run.tokenizer.to_json() == first.tokenizer.to_json()
    config = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert config["tokenizer"] == str(place)


def test_a_text_that_gives_fewer_tokens_says_so(text: Path, tmp_path: Path) -> None:
    said: list[str] = []
    run = tinylm.train(text, out=tmp_path / "run", tokenizer="bpe", notify=said.append, **SMALL)
    assert run.tokenizer.vocab_size < 400
    assert any(
        f"a vocabulary of {run.tokenizer.vocab_size} tokens, fewer than vocab_size=2,048" in line for line in said
    )


def test_a_tokenizer_that_does_not_exist_is_named(text: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TinylmError, match="'words': neither one of chars, bytes, bpe, unigram, wordpiece nor a file or folder"
    ):
        tinylm.train(text, tokenizer="words", **SMALL)
    with pytest.raises(FileFormatError, match=r"tokenizer\.json: there is no such file"):
        tinylm.train(text, tokenizer=str(tmp_path), **SMALL)
    with pytest.raises(TinylmError, match="vocab_size is 100, expected at least 258"):
        tinylm.train(text, tokenizer="bpe", vocab_size=100, **SMALL)


def test_the_command_reports_bits_per_byte_and_shows_how_a_text_splits(text: Path, tmp_path: Path, capsys) -> None:
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    arguments = ["train", str(text), "--tokenizer", "bpe", "--vocab-size", "270", "--out", str(tmp_path / "run")]
    assert main([*arguments, *settings]) == 0
    out, err = capsys.readouterr()
    best = json.loads((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert f"best validation: {best['val_bits_per_byte']:.3f} bits per byte" in out
    assert "bits per token" in err
    assert main(["tokens", str(tmp_path / "run"), f"the cat{END_OF_TEXT}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "269  <|endoftext|>" in lines[-2]
    assert lines[-1].startswith(f"{len(lines) - 1} tokens, 20 characters, 20 bytes")
    assert main(["runs", "--root", str(tmp_path), "compare", "run"]) == 0
    assert f"best bits per byte  {best['val_bits_per_byte']:.4f}" in capsys.readouterr().out
    assert main(["train", str(text), "--vocab-size", "300"]) == 2
    assert "--vocab-size belongs to --tokenizer bpe" in capsys.readouterr().err
    assert main(["tokens", str(text), "the"]) == 2
    assert "malformed JSON" in capsys.readouterr().err


def test_long_documents_are_encoded_by_several_processes_and_end_with_the_end_of_a_text(tmp_path: Path) -> None:
    words = "the cat 今天 sat's on the mat.\n"
    documents = [words * 40_000, "x" * 1_100_000, "short"]
    for number, document in enumerate(documents):
        (tmp_path / f"{number}.txt").write_text(document, encoding="utf-8")
    tokenizer = train_bpe([words * 3], 280)
    tokens = tokenize_corpus(open_corpus(tmp_path), tokenizer, tmp_path / "cache", workers=2)
    expected = [part for document in documents for part in (tokenizer.encode(document), [tokenizer.end_of_text])]
    assert np.array_equal(np.asarray(tokens.ids), np.concatenate(expected))
    assert tokens.n_bytes == sum(len(document.encode()) for document in documents)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "chars"])
def test_a_tokenizer_is_learnt_by_itself_and_used_by_a_run(text: Path, tmp_path: Path, capsys, kind: str) -> None:
    size = [] if kind == "chars" else ["--vocab-size", "290"]
    assert main(["tokenizer", "train", str(text), "--kind", kind, *size, "--out", str(tmp_path / "made")]) == 0
    tokenizer = load_tokenizer(tmp_path / "made")
    assert f"{tokenizer.vocab_size} tokens; use it with --tokenizer" in capsys.readouterr().out
    assert tokenizer.vocab_size <= 290
    run = tinylm.train(text, out=tmp_path / "run", tokenizer=tmp_path / "made", **SMALL)
    assert run.tokenizer.to_json() == tokenizer.to_json()
    assert isinstance(tinylm.load(run.folder).generate("the cat", max_tokens=5, seed=0), str)


def test_a_kind_of_tokenizer_that_there_is_not_is_named(text: Path, tmp_path: Path, capsys) -> None:
    assert main(["tokenizer", "train", str(text), "--kind", "syllables", "--out", str(tmp_path / "made")]) != 0
    assert "--kind is 'syllables'; there are chars, bytes, bpe, unigram, wordpiece" in capsys.readouterr().err
