"""Search by meaning: passages with their places, windows of long ones, an index that is kept, the two commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.cli import main
from tinylm.data import Passage, read_passages
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import Pooling, save_model, write_safetensors
from tinylm.inference import SearchIndex, passage_windows
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.text import train_wordpiece

LINES = ["a cat sat on the mat", "the dog ran over the bridge", "rain fell on the old town", "你好, Größe!"]
TOKENIZER = train_wordpiece(LINES * 3, 120)
CONFIG = BertConfig(TOKENIZER.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    max_position_embeddings=24, initializer_range=0.3)  # fmt: skip


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    save_model(tmp_path / "encoder", Bert(CONFIG, Initializer(0)), TOKENIZER, pooling=Pooling("mean", True, 12))
    return tmp_path / "encoder"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join([*LINES[:2], "", *LINES[2:]]), encoding="utf-8")
    return path


def test_a_passage_knows_its_file_and_line(texts: Path, tmp_path: Path) -> None:
    found, omissions = read_passages(texts)
    assert [(passage.text, passage.line) for passage in found] == list(zip(LINES, [1, 2, 4, 5], strict=True))
    assert found[2].place == f"{texts}:4"
    assert not omissions.messages()
    table = tmp_path / "t.jsonl"
    table.write_text('{"body": "one"}\n{"body": ""}\n{"body": "two"}\n')
    found, omissions = read_passages(table, "body")
    assert [passage.line for passage in found] == [1, 3]
    assert "skipped 1 of 3" in omissions.messages()[0]
    with pytest.raises(FileFormatError, match=r"t.jsonl:2: 'body' is empty"):
        read_passages(table, "body", strict=True)
    for label in ("a", "b"):
        (tmp_path / "folders" / label).mkdir(parents=True)
        (tmp_path / "folders" / label / "x.txt").write_text(f"text {label}\nmore")
    found, _ = read_passages(tmp_path / "folders")
    assert [(passage.text, passage.line) for passage in found] == [("text a\nmore", 1), ("text b\nmore", 1)]
    assert found[1].source.endswith("x.txt")


@given(st.lists(st.sampled_from([*" ".join(LINES).split(), " ", "\n"]), max_size=40), st.integers(4, 20))
def test_windows_cover_a_long_text_and_say_where_they_stand(words: list[str], limit: int) -> None:
    text = " ".join(words)
    parts, rows = passage_windows(TOKENIZER, [Passage(text, "f", 3)], limit)
    assert all(len(row) <= limit for row in rows)
    assert all(text[part.start :].startswith(part.text) and part.line == 3 for part in parts)
    covered = np.zeros(len(text), bool)
    for part in parts:
        covered[part.start : part.start + len(part.text)] = True
    assert all(done or letter.isspace() for done, letter in zip(covered, text, strict=True))


def test_what_is_nearest_comes_first_with_its_cosine(encoder: Path) -> None:
    lm = tinylm.load(encoder)
    found = lm.search(LINES, LINES[1], k=3)
    assert (found[0].passage.text, round(found[0].score, 5)) == (LINES[1], 1)
    vectors = lm.embed(LINES)
    expected = sorted((vectors @ vectors[1]).tolist(), reverse=True)[:3]
    assert np.allclose([one.score for one in found], expected, atol=1e-6)
    long = lm.index([" ".join(LINES[:3] * 3)])
    assert len(long) > 3
    assert {one.passage.start for one in lm.search(long, LINES[2], k=2)} != {0}


def test_an_index_is_kept_and_that_of_another_model_is_refused(encoder: Path, tmp_path: Path) -> None:
    lm = tinylm.load(encoder)
    index = lm.index([Passage(text, "f", at) for at, text in enumerate(LINES)], origin="here")
    index.save(tmp_path / "index")
    again = SearchIndex.open(tmp_path / "index")
    assert again.passages == index.passages
    assert again.origin == "here"
    assert lm.search(again, "rain", k=4) == lm.search(index, "rain", k=4)
    save_model(tmp_path / "other", Bert(CONFIG, Initializer(1)), TOKENIZER, pooling=Pooling("mean", True, 12))
    with pytest.raises(TinylmError, match="made by another model"):
        tinylm.load(tmp_path / "other").search(again, "rain")


def test_a_file_that_is_no_index_is_refused(encoder: Path, tmp_path: Path) -> None:
    lm, file = tinylm.load(encoder), tmp_path / "index"
    lm.index(LINES).save(file)
    whole = file.read_bytes()
    for cut in range(0, len(whole), 97):
        file.write_bytes(whole[:cut])
        with pytest.raises(FileFormatError):
            SearchIndex.open(file)
    with pytest.raises(FileFormatError, match="is no index of passages"):
        SearchIndex.open(encoder / "model.safetensors")
    notes = {"format": "tinylm search index", "version": "1"}
    lines = np.frombuffer(b'["a", "", 0, 0]\n["b", "", 0]', np.uint8)
    arrays = {"vectors": np.ones((2, 3), np.float32), "probe": np.ones(3, np.float32), "passages": lines}
    write_safetensors(file, arrays, notes)
    with pytest.raises(FileFormatError, match="expected a passage"):
        SearchIndex.open(file)
    write_safetensors(file, arrays | {"passages": lines[:16]}, notes)
    with pytest.raises(FileFormatError):
        SearchIndex.open(file)


def test_the_commands_search_and_embed_a_file(encoder: Path, texts: Path, tmp_path: Path, capsys) -> None:
    index = tmp_path / "kept"
    words = ["search", str(encoder), str(texts), LINES[2], "-k", "2", "--index", str(index)]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert first.splitlines()[0] == f"1.000  {texts}:4  {LINES[2]}"
    written = index.stat().st_mtime_ns
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert index.stat().st_mtime_ns == written
    texts.write_text(LINES[2], encoding="utf-8")
    assert main([*words, "--json"]) == 0
    told = capsys.readouterr()
    assert "made anew" in told.err
    assert json.loads(told.out) == {"score": 1.0, "source": str(texts), "line": 1, "start": 0, "text": LINES[2]}

    assert main(["embed", str(encoder), str(texts), "--out", str(tmp_path / "v.npy"), "--json"]) == 0
    printed = capsys.readouterr().out.splitlines()
    vectors = np.load(tmp_path / "v.npy")
    assert np.allclose(json.loads(printed[0])["vector"], vectors[0])
    assert printed[1].endswith(f"v.npy: 1 vectors of 16 numbers, of {texts}")
    for wrong, said in ([], "say where the vectors shall go"), (["--out", "v.txt"], "ends in .npy"):
        assert main(["embed", str(encoder), str(texts), *wrong]) == 2
        assert said in capsys.readouterr().err
