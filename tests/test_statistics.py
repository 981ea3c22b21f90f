"""What is counted of a corpus is what is there."""

from __future__ import annotations

import json
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.cli import main
from tinylm.data import (
    Corpus,
    LengthDistribution,
    characters,
    measure_corpus,
    measure_tokens,
    open_corpus,
    tokenize_corpus,
)
from tinylm.text import ByteTokenizer

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), min_size=1, max_size=8)


@settings(max_examples=60)
@given(texts=TEXTS)
def test_the_figures_are_those_of_counting_by_hand(texts):
    texts = [*texts, "a"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters, "_TOGETHER", 5)
        found = measure_corpus(Corpus("c", texts))
    whole = "".join(texts)
    assert found.documents == len(texts)
    assert found.characters == len(whole) == sum(found.scripts.values())
    assert found.distinct_characters == len(set(whole))
    assert found.bytes == len(whole.encode())
    assert found.lines == sum(len(text.split("\n")) - (not text or text.endswith("\n")) for text in texts)
    assert found.repeats == len(texts) - len(set(texts))
    assert found.lengths.min == min(map(len, texts))
    assert found.lengths.max == max(map(len, texts))
    assert found.replacement_characters == whole.count("\ufffd")
    control = sum(unicodedata.category(c) == "Cc" and c not in "\t\n\r" for c in whole)
    assert found.control_characters == control


def test_scripts_are_unicode_s_own_and_the_most_frequent_comes_first():
    text = "Hello мир 你好吗 مرحبا γειά नमस्ते 한국 カナ かな ꦏꦮ 12!"
    found = measure_corpus(Corpus("c", [text])).scripts
    by_name = Counter(unicodedata.name(c).split()[0].title() for c in text if c.isalpha())
    for script in ("Latin", "Cyrillic", "Arabic", "Greek", "Hangul", "Katakana", "Hiragana"):
        assert found[script] == by_name[script], script
    assert found["Han"] == 3
    assert found["Devanagari"] == 6  # four letters and two signs
    assert found["other"] == 2  # Javanese
    assert list(found.values()) == sorted(found.values(), reverse=True)


@given(lengths=st.lists(st.integers(0, 100), min_size=1, max_size=300))
def test_each_percentile_is_the_smallest_length_that_so_many_do_not_exceed(lengths):
    found = LengthDistribution.of(np.array(lengths))
    for value, share in ((found.median, 0.5), (found.p90, 0.9), (found.p99, 0.99)):
        assert sum(length <= value for length in lengths) >= share * len(lengths) - 1e-9
        assert value in lengths
        assert sum(length < value for length in lengths) < share * len(lengths) + 1e-9


def test_tokens_are_counted_with_what_ends_each_document(tmp_path):
    corpus = Corpus("c", ["aä", "bcd", "e"])
    found = measure_tokens(tokenize_corpus(corpus, ByteTokenizer(), tmp_path), measure_corpus(corpus))
    assert found.tokens == 9  # seven bytes and two newlines
    assert found.tokens_per_byte == pytest.approx(9 / 7)
    assert found.lengths == LengthDistribution(1, 4, 4, 4, 4)


def test_a_large_document_is_counted_in_bounded_memory(tmp_path):
    path = tmp_path / "large.txt"
    path.write_bytes(b"All work and no play.\n" * 2_000_000)
    tracemalloc.start()
    try:
        found = measure_corpus(open_corpus(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.lines == 2_000_000
    assert peak < 40 << 20 < found.bytes


def test_the_command_prints_figures_and_warnings_or_json(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("tinylm.data.tokenizing.cache_folder", lambda: tmp_path / "cache")
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "one"}\nbroken\n{"text": "中文"}\n', encoding="utf-8")
    assert main(["data", str(path), "--tokenizer", "bytes"]) == 0
    out, err = capsys.readouterr()
    assert "exact repeats          1 (33.3% of the documents)" in out
    assert "Latin 75.0%, Han 25.0%" in out
    assert "tokens                 14, 1.167 a byte" in out
    assert err == f"tinylm: warning: skipped 1 of 4 records: first at {path}:3: malformed JSON: Expecting value\n"
    assert main(["data", str(path), "--tokenizer", "bytes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["documents"], found["bytes"], found["tokens"]["tokens"]) == (3, 12, 14)
    assert found["omissions"]
    assert main(["data", str(path), "--strict"]) == 2
    assert main(["data", str(path), "--text-column", "txt"]) == 2
    assert "did you mean 'text'" in capsys.readouterr().err
