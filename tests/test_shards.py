"""Tokens in shards: the same ids however the text is cut, by however many processes, and whatever stops them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.data import (
    Corpus,
    LanguageModelBatches,
    ShardedIds,
    encoding,
    open_corpus,
    tokenize_corpus,
    tokenizing,
    workers,
)
from tinylm.data.encoding import cut_into_blocks
from tinylm.data.readers import Piece
from tinylm.errors import TinylmError
from tinylm.text import BPETokenizer, ByteTokenizer, CharTokenizer, Tokenizer, train_bpe


class WordTokenizer(ByteTokenizer):
    """Bytes, but that a word is read backwards: its tokens depend on where it is cut. Documents end with id 255."""

    end_of_text = 255

    def encode(self, text: str) -> np.ndarray:
        return super().encode(" ".join(word[::-1] for word in text.split(" ")))

    def safe_cut(self, text: str) -> int:
        return text.rfind(" ") + 1 or 0


def encode_whole(texts: list[str], tokenizer: Tokenizer) -> list[int]:
    """The definition: each document encoded in one piece, and the token or the newline that ends it."""
    if tokenizer.end_of_text is None:
        return tokenizer.encode("\n".join(texts)).tolist()
    return [id for text in texts for id in [*tokenizer.encode(text).tolist(), tokenizer.end_of_text]]


@pytest.fixture
def small(monkeypatch):
    """Blocks and shards of a few characters, as if the text were large."""
    monkeypatch.setattr(encoding, "BLOCK", 7)
    monkeypatch.setattr(tokenizing, "BLOCK", 7)
    monkeypatch.setattr(tokenizing, "SHARD", 20)


BPE = train_bpe(["ab ba\nab abba 中 ab\n\n中ab " * 9], 280)
TOKENIZERS = [ByteTokenizer(), CharTokenizer("ab \n中"), WordTokenizer(), BPE]
TEXTS = st.lists(st.text("ab \n中", max_size=40), min_size=1, max_size=6).map(lambda texts: [*texts, "a"])


@settings(max_examples=60)
@given(texts=TEXTS, tokenizer=st.sampled_from(TOKENIZERS), size=st.integers(1, 30), block=st.integers(1, 12))
def test_blocks_are_the_documents_whatever_the_pieces_and_no_block_is_large(texts, tokenizer, size, block):
    corpus = Corpus("c", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK", block)
        blocks = list(cut_into_blocks(corpus.pieces(size), tokenizer))
        assert blocks == list(cut_into_blocks(corpus.pieces(1000), tokenizer))
    parts = [encoding.encode_block(part, tokenizer, np.dtype("uint16")) for part in blocks]
    assert [id for ids, _ in parts for id in ids.tolist()] == encode_whole(texts, tokenizer)
    assert sum(len(ends) for _, ends in parts) == len(texts)
    if not isinstance(tokenizer, WordTokenizer | BPETokenizer):
        assert all(part.size <= 2 * block + 1 for part in blocks)


@settings(max_examples=8)
@given(texts=TEXTS, tokenizer=st.sampled_from(TOKENIZERS), shard=st.integers(10, 60))
def test_shards_hold_the_ids_of_the_whole_and_the_end_of_each_document(tmp_path_factory, texts, tokenizer, shard):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK", 7)
        patch.setattr(tokenizing, "SHARD", shard)
        folder = tmp_path_factory.mktemp("shards")
        first = tokenize_corpus(Corpus("c", texts), tokenizer, folder)
        again = tokenize_corpus(Corpus("c", texts), tokenizer, folder)
    expected = encode_whole(texts, tokenizer)
    for tokens in (first, again):
        assert np.asarray(tokens.ids).tolist() == expected
        assert len(tokens) == len(expected)
        assert tokens.n_bytes == int(tokens.byte_lengths[expected].sum())
        terminator = "" if tokenizer.end_of_text is not None else "\n"
        lengths = [len(tokenizer.encode(text + terminator)) + (not terminator) for text in texts]
        lengths[-1] -= len(terminator)
        assert tokens.ends is not None
        assert tokens.ends.tolist() == np.cumsum(lengths).tolist()


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5), data=st.data())
def test_ids_in_shards_behave_like_an_array(lengths, data):
    whole = np.arange(sum(lengths), dtype=np.uint16)
    ids = ShardedIds(np.split(whole, np.cumsum(lengths)[:-1]))
    for _ in range(3):
        assert np.asarray(ids).tolist() == whole.tolist()
        assert len(ids) == len(whole)
        assert ids.dtype == np.asarray(ids).dtype == np.uint16
        for at in range(-len(whole), len(whole)):
            assert ids[at] == whole[at]
        cut = data.draw(st.slices(len(whole)).filter(lambda s: s.step in (None, 1)))
        ids, whole = ids[cut], whole[cut]
    with pytest.raises(IndexError):
        ids[len(whole)]
    with pytest.raises(TinylmError, match="step 1"):
        ids[::-1]


def test_batches_across_shards_are_those_of_one_array(tmp_path, small):
    text = "".join(random.Random(0).choices("ab \n中", k=400))
    sharded, _ = tokenize_corpus(Corpus("c", [text]), ByteTokenizer(), tmp_path).split()
    assert isinstance(sharded.ids, ShardedIds)
    plain = type(sharded)(np.asarray(sharded.ids), sharded.byte_lengths)
    for step in range(5):
        batches = [LanguageModelBatches(s, batch_size=4, context=31, seed=1) for s in (sharded, plain)]
        for a, b in zip(batches[0].train_batch(step), batches[1].train_batch(step), strict=True):
            np.testing.assert_array_equal(a, b)
    validation = [list(b.validation_batches(3)) for b in batches]
    np.testing.assert_equal(validation[0], validation[1])


# Several processes ---------------------------------------------------------------------------------------


def test_processes_give_the_ids_of_one_in_order(tmp_path, small):
    texts = ["".join(random.Random(i).choices("ab \n中", k=i % 50)) + "x" for i in range(120)]
    one = tokenize_corpus(Corpus("c", texts), ByteTokenizer(), tmp_path / "1", workers=1)
    three = tokenize_corpus(Corpus("c", texts), ByteTokenizer(), tmp_path / "3", workers=3)
    assert np.asarray(one.ids).tolist() == np.asarray(three.ids).tolist() == encode_whole(texts, ByteTokenizer())
    files = [sorted((tmp_path / name).rglob("*.tokens")) for name in ("1", "3")]
    for a, b in zip(*files, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_an_error_in_a_process_is_the_error_of_one(tmp_path, small):
    corpus = Corpus("c", ["ab" * 40, "ab" * 40 + "X"])
    for number in (1, 2):
        with pytest.raises(TinylmError, match=r"document 2, after \d+ characters: unknown character 'X'"):
            tokenize_corpus(corpus, CharTokenizer("ab\n"), tmp_path, workers=number)


class Dies(ByteTokenizer):
    """Ends its process, as the system does when memory is short."""

    def encode(self, text: str) -> np.ndarray:
        os._exit(7)


def test_a_process_that_dies_is_told(tmp_path, small, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(TinylmError, match=r"ended with status 7.*fewer workers"):
        tokenize_corpus(Corpus("c", ["ab" * 40]), Dies(), tmp_path, workers=2)


def test_a_tokenizer_that_cannot_be_sent_and_a_wrong_number_are_refused(tmp_path, small):
    class Local(ByteTokenizer):
        pass

    with pytest.raises(TinylmError, match="workers=1"):
        tokenize_corpus(Corpus("c", ["ab" * 40]), Local(), tmp_path, workers=2)
    assert len(tokenize_corpus(Corpus("c", ["ab" * 40]), Local(), tmp_path, workers=1)) == 80
    with pytest.raises(TinylmError, match="workers must be 0 or more, received -1"):
        tokenize_corpus(Corpus("c", ["a"]), ByteTokenizer(), tmp_path, workers=-1)


SCRIPT = """
import sys, time
from pathlib import Path
from tinylm.data import encoding, open_corpus, tokenize_corpus, tokenizing
from tinylm.text import ByteTokenizer

class Slow(ByteTokenizer):
    def encode(self, text):
        time.sleep(0.01)
        return super().encode(text)

encoding.BLOCK, tokenizing.BLOCK, tokenizing.SHARD = 50, 50, 200
tokenize_corpus(open_corpus(sys.argv[1]), Slow(), Path(sys.argv[2]), workers=1)
print("done")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_kill_at_any_instant_leaves_whole_shards_and_the_next_start_goes_on(tmp_path, monkeypatch):
    text = "".join(random.Random(1).choices("ab \n中", k=4000))
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(tmp_path / "cache")]
    shards: set[str] = set()
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "cache").rglob("*.tokens"))) < len(shards) + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.tokens")}
        assert shards < set(kept)
        shards = set(kept)
    for module in (encoding, tokenizing):
        monkeypatch.setattr(module, "BLOCK", 50)
    monkeypatch.setattr(tokenizing, "SHARD", 200)
    encoded: list[str] = []

    class Counting(ByteTokenizer):
        def encode(self, text: str) -> np.ndarray:
            encoded.append(text)
            return super().encode(text)

    tokens = tokenize_corpus(open_corpus(path), Counting(), tmp_path / "cache", workers=1)
    assert bytes(np.asarray(tokens.ids)) == text.encode()
    assert {f.name: f.stat().st_mtime_ns for f in (tmp_path / "cache").rglob("*.tokens")}.items() >= kept.items()
    assert len("".join(encoded)) < len(text) - 200 * (len(kept) - 1)


def test_a_damaged_shard_alone_is_made_anew(tmp_path, small, monkeypatch):
    corpus = Corpus("c", ["ab" * 100])
    expected = np.asarray(tokenize_corpus(corpus, ByteTokenizer(), tmp_path).ids).tolist()
    files = sorted(tmp_path.rglob("*.tokens"))
    times = [file.stat().st_mtime_ns for file in files]
    for damage in (lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x")):
        damage(files[3])
        assert np.asarray(tokenize_corpus(corpus, ByteTokenizer(), tmp_path).ids).tolist() == expected
        now = [file.stat().st_mtime_ns for file in files]
        assert [at for at, (a, b) in enumerate(zip(times, now, strict=True)) if a != b] == [3]
        times = now


def test_a_shard_of_another_place_or_corpus_is_not_taken(tmp_path, small):
    corpus, other = Corpus("c", ["ab" * 100]), Corpus("d", ["ba" * 100])
    tokenize_corpus(other, ByteTokenizer(), tmp_path / "other")
    tokenize_corpus(corpus, ByteTokenizer(), tmp_path / "c")
    mine, theirs = (sorted((tmp_path / name).rglob("*.tokens")) for name in ("c", "other"))
    for wrong in (theirs[2], mine[4]):
        mine[2].write_bytes(wrong.read_bytes())
        assert bytes(np.asarray(tokenize_corpus(corpus, ByteTokenizer(), tmp_path / "c").ids)) == b"ab" * 100


def test_a_file_that_changes_while_it_is_tokenized_leaves_no_shard_of_the_change(tmp_path, small):
    path = tmp_path / "a.txt"
    path.write_text("ab" * 100)
    corpus = open_corpus(path)
    corpus.survey()
    path.write_text("ba" * 100)
    with pytest.raises(TinylmError, match="has changed while it was read"):
        tokenize_corpus(corpus, ByteTokenizer(), tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*.tokens")) == []


def test_progress_is_told_in_bytes_up_to_the_last(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ab" * 200_000)
    told: list[tuple[str, int, int]] = []
    tokenize_corpus(open_corpus(path), ByteTokenizer(), tmp_path / "c", progress=lambda *state: told.append(state))
    for what in ("reading", "tokenizing"):
        done = [state for state in told if state[0] == what]
        assert done == sorted(done)
        assert done[-1] == (what, 400_000, 400_000)


def test_a_piece_is_a_text_and_whether_it_ends_its_document():
    assert list(Corpus("c", ["ab", "c"]).pieces(1)) == [
        Piece("a", False),
        Piece("b", False),
        Piece("", True),
        Piece("c", False),
        Piece("", True),
    ]


def test_an_index_that_lacks_a_shard_is_not_believed(tmp_path, small):
    corpus = Corpus("c", ["ab" * 100])
    tokenize_corpus(corpus, ByteTokenizer(), tmp_path)
    (path,) = tmp_path.rglob("index.json")
    good = path.read_text()
    index = json.loads(good)
    path.write_text(json.dumps({**index, "shards": index["shards"][:-1]}))
    assert bytes(np.asarray(tokenize_corpus(corpus, ByteTokenizer(), tmp_path).ids)) == b"ab" * 100
    assert path.read_text() == good


@pytest.mark.parametrize(("fast", "elsewhere"), [(0.0, 0), (float("inf"), 1)])
def test_other_processes_are_started_only_where_they_help(tmp_path, small, monkeypatch, fast, elsewhere):
    started: list[int] = []
    real = workers._encode_elsewhere
    monkeypatch.setattr(workers, "_encode_elsewhere", lambda *given: started.append(1) or real(*given))
    monkeypatch.setattr(workers, "FAST", fast)
    tokens = tokenize_corpus(Corpus("c", ["ab" * 100]), ByteTokenizer(), tmp_path / "long")
    assert bytes(np.asarray(tokens.ids)) == b"ab" * 100
    tokenize_corpus(Corpus("c", ["ab"]), ByteTokenizer(), tmp_path / "short")
    assert len(started) == elsewhere


def test_a_frozen_app_encodes_by_itself(tmp_path, small, monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(workers, "_encode_elsewhere", None)
    assert len(tokenize_corpus(Corpus("c", ["ab" * 100]), ByteTokenizer(), tmp_path, workers=2)) == 200


def test_a_kill_before_the_index_costs_no_encoding(tmp_path, small, monkeypatch):
    corpus = Corpus("c", ["ab" * 100])
    tokenize_corpus(corpus, ByteTokenizer(), tmp_path)
    (path,) = tmp_path.rglob("index.json")
    good = path.read_text()
    path.unlink()
    monkeypatch.setattr(workers, "encode_block", None)
    assert bytes(np.asarray(tokenize_corpus(corpus, ByteTokenizer(), tmp_path).ids)) == b"ab" * 100
    assert path.read_text() == good
