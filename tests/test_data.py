"""Corpora, token files and batches: the same text however it is cut, exact byte counts, no hidden state."""

from __future__ import annotations

import codecs
import errno
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinylm_kernels
from tinylm.data import (
    IGNORE,
    Corpus,
    LanguageModelBatches,
    TokenSplit,
    builtin_corpus,
    encoding,
    open_corpus,
    shards,
    tokenize_corpus,
    tokenizing,
    tokens,
)
from tinylm.errors import FileFormatError, TinylmError
from tinylm.text import ByteTokenizer, CharTokenizer

TEXT = "Ein Käse, ein Wort.\nEin 中 und ein \U0001f600.\n" * 20


def text_of(corpus: Corpus, size: int = 1 << 20) -> str:
    return "".join(corpus.chunks(size))


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Corpora ------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    texts=st.lists(st.text("a\r\n é中\U0001f600\ufeff"), min_size=1, max_size=3),
    size=st.integers(1, 9),
    bom=st.booleans(),
)
def test_the_text_is_the_same_whatever_the_size_of_the_chunks(tmp_path_factory, texts, size, bom):
    folder = tmp_path_factory.getbasetemp() / "corpus"
    texts = [text.lstrip("\ufeff") + "x" for text in texts]
    mark = codecs.BOM_UTF8 if bom else b""
    paths = [write(folder / f"{i}.any", mark + text.encode()) for i, text in enumerate(texts)]
    expected = "\n".join(texts).replace("\r\n", "\n")
    chunks = list(open_corpus(paths).chunks(size))
    assert "".join(chunks) == expected
    assert all(chunks)
    assert text_of(Corpus("same", ["\n".join(texts)]), size) == expected


def test_a_windows_newline_cut_in_two_becomes_one_and_a_lone_return_stays(tmp_path):
    path = write(tmp_path / "a.txt", "ab\r\ncd\r\re\n\r\n\r")
    for size in range(1, 14):
        assert text_of(open_corpus(path), size) == "ab\ncd\r\re\n\n\r"


def test_a_folder_gives_its_text_files_sorted_at_any_depth_but_no_hidden_or_empty_ones(tmp_path):
    for name in ("b.txt", "a/z.md", "a.rst", "B.TEXT", "code.py", ".git/x.txt", "a/.hidden.md"):
        write(tmp_path / name, name)
    write(tmp_path / "empty.txt", "")
    assert text_of(open_corpus(tmp_path)).split("\n") == ["B.TEXT", "a.rst", "a/z.md", "b.txt"]


def test_files_come_in_the_order_given_and_once(tmp_path):
    a, b = write(tmp_path / "a.txt", "A"), write(tmp_path / "b.py", "B")
    assert text_of(open_corpus([b, str(a), tmp_path, b])) == "B\nA"
    assert text_of(open_corpus(str(a))) == "A"
    assert open_corpus([a, b]).name == "a.txt and 1 more"


def test_the_fingerprint_is_of_the_documents_alone(tmp_path):
    a = write(tmp_path / "a.txt", "x\r\ny")
    b = write(tmp_path / "b.txt", codecs.BOM_UTF8 + b"x\ny")
    prints = [
        open_corpus(a).fingerprint(),
        open_corpus(b).fingerprint(),
        Corpus("c", ["x\ny"]).fingerprint(),
    ]
    assert len(set(prints)) == 1
    assert re.fullmatch("[0-9a-f]{32}", prints[0])
    others = [Corpus("c", texts).fingerprint() for texts in (["x", "y"], ["x", "z"], ["y", "x"])]
    assert len({*prints, *others}) == 4


def test_the_built_in_corpus_is_python_s_own_help():
    corpus = builtin_corpus()
    text = text_of(corpus)
    assert corpus.name == "pydoc-topics"
    assert len(text) > 100_000
    assert "Python" in text
    assert text == text_of(corpus, 777)
    assert repr(corpus) == "Corpus('pydoc-topics', 1 source)"


@pytest.mark.parametrize(
    ("content", "offset", "words"),
    [
        (b"abc\xffdef", 3, "not UTF-8"),
        (b"abc\xe4\xb8", 3, "not UTF-8"),
        (b"abcd\xe4\xb8xy", 4, "not UTF-8"),
        (codecs.BOM_UTF8 + b"ab\xff", 5, "not UTF-8"),
        (b"abc\xed\xa0\x80", 3, "not UTF-8"),
        (b"ab\0cd", 2, "NUL byte"),
        ("abc".encode("utf-16-le"), 1, "NUL byte"),
        (codecs.BOM_UTF16_LE + "ab".encode("utf-16-le"), 0, "UTF-16"),
        (codecs.BOM_UTF16_BE + "ab".encode("utf-16-be"), 0, "UTF-16"),
        ("ab".encode("utf-32"), 0, "UTF-32"),
    ],
)
def test_a_file_that_is_not_utf8_text_is_refused_with_the_byte(tmp_path, content, offset, words):
    path = write(tmp_path / "a.txt", content)
    for size in (1, 2, 3, 5, 1 << 20):
        with pytest.raises(FileFormatError, match=words) as caught:
            text_of(open_corpus(path), size)
        assert (caught.value.path, caught.value.offset) == (str(path), offset)


def test_a_missing_path_suggests_the_one_that_was_meant(tmp_path):
    write(tmp_path / "shakespeare.txt", "x")
    with pytest.raises(FileFormatError, match=r"did you mean .*shakespeare\.txt\?"):
        open_corpus(tmp_path / "shakespear.txt")
    with pytest.raises(FileFormatError, match=r"no such file or folder$"):
        open_corpus(tmp_path / "unlike anything")
    with pytest.raises(FileFormatError, match=r"the folder .*nowhere does not exist"):
        open_corpus(tmp_path / "nowhere" / "a.txt")


def test_what_holds_no_text_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="is empty"):
        open_corpus(write(tmp_path / "a.txt", ""))
    with pytest.raises(FileFormatError, match="folder without text"):
        open_corpus(tmp_path)
    with pytest.raises(TinylmError, match="at least one file"):
        open_corpus([])
    for content in (" \n\t\r\n", codecs.BOM_UTF8):
        with pytest.raises(TinylmError, match="white space"):
            text_of(open_corpus(write(tmp_path / "blank.txt", content)))
    with pytest.raises(TinylmError, match="at least 1, received 0"):
        text_of(builtin_corpus(), 0)


# Token files --------------------------------------------------------------------------------------------


class WideTokenizer(CharTokenizer):
    """Characters, with a vocabulary large enough for wider ids."""

    def __init__(self, size: int):
        super().__init__(chr(0x10000 + i) if i > 127 else chr(i) for i in range(size))


@pytest.mark.parametrize(("size", "dtype"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")])
def test_ids_are_as_small_as_the_vocabulary_allows(tmp_path, size, dtype):
    tokenizer = WideTokenizer(size)
    text = tokenizer.decode([97, size - 1, 3])
    tokens = tokenize_corpus(Corpus("c", [text]), tokenizer, tmp_path)
    assert tokens.ids.dtype == dtype
    assert tokens.ids.tolist() == [97, size - 1, 3]
    assert tokens.n_bytes == len(text.encode())


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train([TEXT]), ByteTokenizer()], ids=["chars", "bytes"])
@pytest.mark.parametrize("fraction", [0, 0.1, 0.13, 0.5])
def test_a_split_covers_everything_once_and_counts_its_bytes_exactly(tmp_path, tokenizer, fraction):
    tokens = tokenize_corpus(Corpus("c", [TEXT]), tokenizer, tmp_path)
    train, validation = tokens.split(fraction)
    assert tokenizer.decode(tokens.ids) == TEXT
    assert np.concatenate([train.ids, validation.ids]).tolist() == tokens.ids.tolist()
    assert len(validation) == int(len(tokens) * fraction)
    assert train.n_bytes + validation.n_bytes == tokens.n_bytes == len(TEXT.encode())
    if tokenizer.kind == "chars":
        assert validation.n_bytes == len(tokenizer.decode(validation.ids).encode())
    assert validation.count_bytes(1) == validation.n_bytes - validation.count_bytes(0, 1)
    assert not tokens.ids.flags.writeable


def test_bytes_are_counted_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "_BLOCK", 7)
    found = tokenize_corpus(Corpus("c", [TEXT]), CharTokenizer.train([TEXT]), tmp_path)
    assert found.n_bytes == len(TEXT.encode())
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("fraction", [-0.1, 1, 2, float("nan")])
def test_a_fraction_that_is_none_is_refused(tmp_path, fraction):
    with pytest.raises(TinylmError, match="validation_fraction"):
        tokenize_corpus(Corpus("c", [TEXT]), ByteTokenizer(), tmp_path).split(fraction)


def test_the_cache_is_used_and_is_of_this_text_and_this_tokenizer(tmp_path, monkeypatch):
    corpus, tokenizer = Corpus("c", [TEXT]), CharTokenizer.train([TEXT])
    tokenize_corpus(corpus, tokenizer, tmp_path)
    tokenize_corpus(corpus, ByteTokenizer(), tmp_path)
    tokenize_corpus(Corpus("c", [TEXT[1:]]), tokenizer, tmp_path)
    tokenize_corpus(corpus, CharTokenizer(tokenizer.characters[::-1]), tmp_path)
    assert len(list(tmp_path.glob("*/00000.tokens"))) == 4
    monkeypatch.setattr(tokenizing, "write_shard", None)  # a second look writes nothing
    assert tokenizer.decode(tokenize_corpus(Corpus("other name", [TEXT]), tokenizer, tmp_path).ids) == TEXT


def test_the_cache_is_the_user_s_own_unless_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizing, "cache_folder", lambda: tmp_path / "cache")
    tokenize_corpus(Corpus("c", [TEXT]), ByteTokenizer())
    assert len(list((tmp_path / "cache" / "tokens").glob("*/index.json"))) == 1


@pytest.mark.parametrize("name", ["00000.tokens", "index.json"])
def test_a_damaged_cache_file_is_made_anew(tmp_path, name):
    corpus, tokenizer = Corpus("c", ["abcab" * 3]), CharTokenizer("abc")

    def tokens() -> list[int]:
        return tokenize_corpus(corpus, tokenizer, tmp_path).ids.tolist()

    expected = tokens()
    (path,) = tmp_path.glob(f"*/{name}")
    good = path.read_bytes()
    damaged = [good[:n] for n in range(0, len(good), 4)] + [good + b"\0"]
    damaged += [good[:n] + bytes([good[n] ^ 0x40]) + good[n + 1 :] for n in range(len(good)) if not 40 <= n < 48]
    for content in damaged:  # bytes 40..47 of a shard are reserved
        path.write_bytes(content)
        assert tokens() == expected
        if name == "00000.tokens":
            assert path.read_bytes() == good


def unwritable(path, content):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_cache_that_cannot_be_written_is_replaced_by_memory_with_a_warning(tmp_path, monkeypatch):
    corpus, tokenizer = Corpus("c", [TEXT]), ByteTokenizer()
    in_the_way = write(tmp_path / "file", "x")
    with pytest.warns(RuntimeWarning, match="cannot be cached") as caught:
        tokens = tokenize_corpus(corpus, tokenizer, in_the_way)
    assert caught[0].filename == __file__
    assert tokenizer.decode(tokens.ids) == TEXT
    assert not tokens.ids.flags.writeable
    monkeypatch.setattr(shards, "write_atomically", unwritable)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert tokenizer.decode(tokenize_corpus(corpus, tokenizer, tmp_path).ids) == TEXT


def test_a_full_disk_and_a_large_corpus_are_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "write_atomically", unwritable)
    monkeypatch.setattr(tokenizing, "MAX_IN_MEMORY", 100)
    with pytest.raises(TinylmError, match=r"No space left.*free some space"):
        tokenize_corpus(Corpus("c", [TEXT]), ByteTokenizer(), tmp_path)


def test_an_unknown_character_is_named_with_its_place_in_the_corpus_and_nothing_is_kept(tmp_path, monkeypatch):
    corpus = Corpus("c", ["ab", "aX"])
    with pytest.raises(TinylmError, match=r"document 2: .*'X' .* at position 1"):
        tokenize_corpus(corpus, CharTokenizer("ab\n"), tmp_path)
    monkeypatch.setattr(encoding, "BLOCK", 4)
    with pytest.raises(TinylmError, match=r"document 1, after 8 characters: .*'X' .* at position 2"):
        tokenize_corpus(Corpus("c", ["abababababXa"]), CharTokenizer("ab\n"), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_large_file_is_tokenized_in_bounded_memory(tmp_path):
    path = write(tmp_path / "large.txt", b"All work and no play.\n" * 1_800_000)
    tracemalloc.start()
    try:
        tokens = tokenize_corpus(open_corpus(path), ByteTokenizer(), tmp_path / "cache", workers=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tokens) == path.stat().st_size
    assert peak < 16 << 20 < len(tokens)


# Batches ------------------------------------------------------------------------------------------------


def split_of(n: int, dtype: str = "uint16") -> TokenSplit:
    return TokenSplit(np.arange(n, dtype=dtype), np.ones(n, np.int64))


def test_targets_are_the_tokens_after_the_inputs():
    inputs, targets = LanguageModelBatches(split_of(100), batch_size=5, context=8, seed=0).train_batch(3)
    assert inputs.shape == targets.shape == (5, 8)
    assert inputs.dtype == targets.dtype == np.int32
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(np.diff(inputs, axis=1), 1)
    assert inputs.flags.c_contiguous
    assert targets.flags.c_contiguous


@given(
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**40),
    rows=st.slices(6),
)
def test_a_slice_of_the_rows_is_that_slice_of_the_batch(seed, step, rows):
    batches = LanguageModelBatches(split_of(1000), batch_size=6, context=4, seed=seed)
    whole, part = batches.train_batch(step), batches.train_batch(step, rows)
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[rows], b)
    other = LanguageModelBatches(split_of(1000), batch_size=99, context=4, seed=seed)
    np.testing.assert_array_equal(other.train_batch(step, slice(0, 6))[0], whole[0])


def test_the_windows_of_a_seed_never_change():
    """Fixed numbers: a run that another version began must resume with the same windows."""
    inputs, _ = LanguageModelBatches(split_of(1000), batch_size=4, context=1, seed=7).train_batch(5)
    assert inputs[:, 0].tolist() == [625, 336, 264, 609]


def test_seed_step_and_row_each_change_the_window():
    def starts(seed: int, step: int) -> list[int]:
        batches = LanguageModelBatches(split_of(60_000), batch_size=8, context=1, seed=seed)
        return batches.train_batch(step)[0][:, 0].tolist()

    drawn = starts(0, 0) + starts(0, 1) + starts(1, 0)
    assert len(set(drawn)) == len(drawn)


def test_windows_begin_anywhere_equally_often_also_at_both_ends():
    batches = LanguageModelBatches(split_of(12), batch_size=4000, context=2, seed=0)
    counts = np.bincount(batches.train_batch(0)[0][:, 0])
    assert len(counts) == 10  # 0..9: the last window ends at token 11
    assert (abs(counts - 400) < 5 * np.sqrt(400)).all()


@settings(max_examples=200)
@given(
    n=st.integers(2, 60),
    data=st.data(),
    batch_size=st.integers(1, 5),
    limit=st.none() | st.integers(1, 70),
)
def test_validation_counts_every_target_once_in_order(n, data, batch_size, limit):
    context = data.draw(st.integers(1, n - 1))
    batches = LanguageModelBatches(split_of(n), batch_size=3, context=context, seed=0)
    seen_inputs, seen_targets = [], []
    for inputs, targets in batches.validation_batches(batch_size, limit=limit):
        assert inputs.shape == targets.shape
        assert 1 <= len(inputs) <= batch_size
        assert inputs.shape[1] == context
        assert inputs.dtype == targets.dtype == np.int32
        counted = targets != IGNORE
        assert counted.any(axis=1).all()
        assert (inputs[~counted] == 0).all()
        seen_inputs += inputs[counted].tolist()
        seen_targets += targets[counted].tolist()
    last = min(n - 1, limit or n)
    assert seen_targets == list(range(1, last + 1))
    assert seen_inputs == list(range(last))


def test_validation_has_the_rows_of_training_unless_told():
    batches = LanguageModelBatches(split_of(100), batch_size=3, context=4, seed=0)
    assert next(batches.validation_batches())[0].shape == (3, 4)


def test_the_target_that_does_not_count_is_the_loss_kernel_s_own():
    assert tinylm_kernels.IGNORE == IGNORE


def test_a_text_that_is_too_short_says_what_to_set():
    with pytest.raises(TinylmError, match=r"64 tokens .* context of 64, which takes 65; .*--set context=32\)"):
        LanguageModelBatches(split_of(64), batch_size=1, context=64, seed=0)
    LanguageModelBatches(split_of(65), batch_size=1, context=64, seed=0).train_batch(0)


@pytest.mark.parametrize(
    "change", [{"batch_size": 0}, {"context": 0}, {"seed": -1}, {"seed": 2**64}], ids=lambda c: str(c)
)
def test_settings_that_make_no_batch_are_refused(change):
    with pytest.raises(TinylmError, match=next(iter(change))):
        LanguageModelBatches(split_of(10), **{"batch_size": 1, "context": 1, "seed": 0, **change})
    batches = LanguageModelBatches(split_of(10), batch_size=1, context=1, seed=0)
    for settings_ in ({"batch_size": 0}, {"limit": 0}):
        with pytest.raises(TinylmError, match="at least 1"):
            next(batches.validation_batches(**settings_))


def test_a_negative_step_is_refused():
    with pytest.raises(TinylmError, match="step"):
        LanguageModelBatches(split_of(10), batch_size=1, context=1, seed=0).train_batch(-1)


def test_batches_come_from_a_mapped_file(tmp_path):
    train, validation = tokenize_corpus(Corpus("c", [TEXT]), ByteTokenizer(), tmp_path).split()
    inputs, _ = LanguageModelBatches(train, batch_size=2, context=16, seed=1).train_batch(0)
    assert ByteTokenizer().encode(TEXT).tobytes().find(inputs[0].tobytes()) >= 0
    assert len(validation) == len(TEXT.encode()) // 10


def test_data_imports_nothing_but_numpy():
    script = "import sys, tinylm.data; print([m for m in ('numba', 'regex', 'pydoc_data') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
