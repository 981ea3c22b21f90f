"""Readers: every record arrives once or is counted, and nothing that is damaged is accepted."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import importlib
import io
import json
import os
import random
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.data import Corpus, Omissions, open_corpus
from tinylm.data.readers import READERS, base
from tinylm.errors import FileFormatError, TinylmError

TEXTS = ["Ein Käse,\nein Wort.", "中 und \U0001f600", 'say "no"\tor ;', " leading", "plain"]


def documents(path: Path, **options) -> list[str]:
    return list(open_corpus(path, **options).documents())


def omissions(path: Path, **options) -> Omissions:
    found = Omissions()
    list(open_corpus(path, **options).pieces(omissions=found))
    return found


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def as_json_lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"id": i, "text": text}).encode() + b"\n" for i, text in enumerate(texts))


def as_csv(texts: list[str], delimiter: str = ",") -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([("id", "text"), *enumerate(texts)])
    return file.getvalue().encode()


def as_parquet(texts: list[str | None], **options) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'data' is not installed")
    parquet = importlib.import_module("pyarrow.parquet")
    file = io.BytesIO()
    table = pyarrow.table({"id": list(range(len(texts))), "text": pyarrow.array(texts, pyarrow.string())})
    parquet.write_table(table, file, row_group_size=2, write_page_checksum=True, **options)
    return file.getvalue()


def as_zstandard(content: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard", reason="the extra 'data' is not installed")
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


MAKE = {".jsonl": as_json_lines, ".csv": as_csv, ".tsv": lambda t: as_csv(t, "\t"), ".parquet": as_parquet}
PACK = {"": bytes, ".gz": gzip.compress, ".zst": as_zstandard}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("suffix", MAKE)
def test_every_format_gives_the_same_documents_packed_or_not(tmp_path, suffix, packed):
    path = write(tmp_path / f"data{suffix}{packed}", PACK[packed](MAKE[suffix](TEXTS)))
    assert documents(path) == TEXTS
    corpus = open_corpus(path)
    assert "".join(corpus.chunks(3)) == "\n".join(TEXTS)
    assert corpus.fingerprint() == Corpus("c", TEXTS).fingerprint()
    assert corpus.survey().documents == len(TEXTS)
    assert corpus.survey().characters == "".join(sorted(set("\n".join(TEXTS))))


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_packed_plain_text_is_one_document_also_from_archives_joined(tmp_path, packed):
    parts = [b"\xef\xbb\xbfone\r", b"\ntwo", b" three"]
    path = write(tmp_path / f"a.txt{packed}", b"".join(PACK[packed](part) for part in parts) + bytes(512))
    for size in (1, 4, 1 << 20):
        assert "".join(open_corpus(path).chunks(size)) == "one\ntwo three"
    assert documents(path) == ["one\ntwo three"]


@settings(max_examples=40)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1),
    suffix=st.sampled_from([".jsonl", ".csv", ".tsv"]),
)
def test_any_text_survives_every_format(tmp_path_factory, texts, suffix):
    texts = [f"x{text}" for text in texts]
    path = write(tmp_path_factory.getbasetemp() / "any" / f"data{suffix}", MAKE[suffix](texts))
    assert documents(path) == [text.replace("\r\n", "\n") for text in texts]


def test_a_folder_gives_every_format_and_a_pattern_what_it_matches(tmp_path):
    for name, content in (("b.txt", b"B"), ("a/c.csv.gz", gzip.compress(as_csv(["C"]))), ("a/d.py", b"D")):
        write(tmp_path / name, content)
    write(tmp_path / "a/e.NDJSON", as_json_lines(["E"]))
    assert documents(tmp_path) == ["C", "E", "B"]
    assert documents(tmp_path / "**" / "*.gz") == ["C"]
    assert documents(tmp_path / "a" / "[de].*") == ["D", "E"]
    write(tmp_path / "[x].txt", "a name with brackets")
    assert documents(tmp_path / "[x].txt") == ["a name with brackets"]
    with pytest.raises(FileFormatError, match="no file that holds text matches this pattern"):
        open_corpus(tmp_path / "*.nothing")


# Records that cannot be used -----------------------------------------------------------------------------

GOOD = '{"text": "good"}\n'
BAD_LINES = {
    "half a line": ('{"text": "ba', "malformed JSON"),
    "no object": ("[1, 2]", "expected a JSON object, received list"),
    "not a number": ('{"text": "a", "score": NaN}', "NaN"),
    "twice": ('{"text": "a", "text": "b"}', "appears twice"),
    "no field": ('{"texts": "a"}', "no field 'text'"),
    "null": ('{"text": null}', "'text' is null, expected text"),
    "number": ('{"text": 5}', "'text' is 5, expected text"),
    "empty": ('{"text": " \\n"}', "'text' is empty"),
    "NUL": ('{"text": "a\\u0000"}', "NUL character"),
    "surrogate": ('{"text": "\\ud800"}', "surrogate"),
    "too deep": ('{"text": ' + "[" * 100_000, "nested too deeply"),
    "latin-1": (b'{"text": "K\xe4se"}', "not UTF-8"),
    "raw NUL": (b"\0\0\0", "malformed JSON"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_counted_with_its_place_or_with_strict_an_error(tmp_path, name):
    bad, words = BAD_LINES[name]
    raw = bad if isinstance(bad, bytes) else bad.encode()
    path = write(tmp_path / "data.jsonl", GOOD.encode() * 2 + b"\n" + raw + b"\n" + GOOD.encode())
    assert documents(path) == ["good"] * 3
    found = omissions(path)
    assert (found.records, found.skipped) == (4, 1)
    (message,) = open_corpus(path).survey().omissions
    assert message.startswith(f"skipped 1 of 4 records: first at {path}:4: ")
    assert words in message
    with pytest.raises(FileFormatError, match=r"data\.jsonl:4: ") as caught:
        documents(path, strict=True)
    assert caught.value.line == 4


def test_csv_counts_rows_of_the_wrong_width_and_quotes_out_of_place(tmp_path):
    rows = ["id,text", '1,"two\nlines"', "2", "3,a,b", '4,"x"y', "", "5,", b"6,K\xe4se", b"\xe4,good", "7,last"]
    path = write(tmp_path / "a.csv", b"\r\n".join(row if isinstance(row, bytes) else row.encode() for row in rows))
    assert documents(path) == ["two\nlines", "good", "last"]
    found = omissions(path)
    assert (found.records, found.skipped) == (8, 5)
    assert str(found.first) == f"{path}:4: a row of 1 fields, expected 2 as in the header"
    with pytest.raises(FileFormatError, match=r"a\.csv:4"):
        documents(path, strict=True)


def test_a_quote_that_never_closes_is_an_error_and_not_one_long_field(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", 'id,text\n1,one\n2,"open\n' + "3,three\n" * 50)
    with pytest.raises(FileFormatError, match=r"a.csv:3: the file ends inside a quoted field"):
        documents(path)
    monkeypatch.setattr("tinylm.data.readers.delimited.MAX_RECORD", 100)
    limit = csv.field_size_limit()
    for content in ('id,text\n1,one\n2,"open\n' + "3,three\n" * 50, "id,text\n" + '"many\n","fields\n",' * 50):
        with pytest.raises(FileFormatError, match=r"a.csv:\d+: a row of more than 100 bytes .* never closed"):
            documents(write(path, content))
    assert csv.field_size_limit() == limit


def test_parquet_counts_rows_without_text(tmp_path):
    path = write(tmp_path / "a.parquet", as_parquet(["a", None, "b", " ", "c"]))
    assert documents(path) == ["a", "b", "c"]
    assert omissions(path).messages() == [f"skipped 2 of 5 records: first at {path}:2: 'text' is null, expected text"]


@pytest.mark.parametrize("suffix", MAKE)
def test_a_column_that_is_not_there_is_an_error_with_the_nearest_that_is(tmp_path, suffix):
    path = write(tmp_path / f"data{suffix}", MAKE[suffix](TEXTS))
    assert documents(path, text_column="text") == TEXTS
    with pytest.raises(FileFormatError, match=r"no column 'txet'; there are 'id', 'text'; did you mean 'text'\?"):
        documents(path, text_column="txet")
    if suffix == ".parquet":
        with pytest.raises(FileFormatError, match="'id' holds int64, expected strings"):
            documents(path, text_column="id")


def test_files_without_a_single_usable_record_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"a\.jsonl:2: 'text' is empty"):
        documents(write(tmp_path / "a.jsonl", '\n{"text": ""}\n'))
    with pytest.raises(TinylmError, match="no text"):
        documents(write(tmp_path / "a.csv", "text\n"))
    with pytest.raises(FileFormatError, match=r"c\.csv:1: malformed CSV"):
        documents(write(tmp_path / "c.csv", 'id,"te"xt\n1,a\n'))
    with pytest.raises(FileFormatError, match="'text' is there twice"):
        documents(write(tmp_path / "b.csv", "text,text\na,b\n"))
    for suffix in (".jsonl", ".csv", ".txt"):
        with pytest.raises(FileFormatError, match="UTF-16"):
            documents(write(tmp_path / f"wide{suffix}", codecs.BOM_UTF16_LE + "text\na".encode("utf-16-le")))


# Damage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_an_archive_that_is_cut_anywhere_or_has_a_flipped_byte_is_refused(tmp_path, suffix, packed):
    make = MAKE.get(suffix, lambda texts: "\n".join(texts).encode())
    good = PACK[packed](make(TEXTS))
    path = tmp_path / f"a{suffix}{packed}"
    expected = documents(write(path, good))
    for cut in range(1, len(good)):
        with pytest.raises(FileFormatError, match=r"cut short|damaged"):
            documents(write(path, good[:cut]))
    for at in range(len(good)):
        flipped = good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :]
        with contextlib.suppress(FileFormatError):
            assert documents(write(path, flipped)) == expected, at  # a time or a name in gzip's header
    for tail in (b"x", good[:5], b"\0\0x"):
        with pytest.raises(FileFormatError):
            documents(write(path, good + tail))


def test_a_parquet_file_that_is_damaged_is_refused_or_reads_the_same(tmp_path):
    good = as_parquet(TEXTS)
    path = tmp_path / "a.parquet"
    expected = documents(write(path, good))
    for cut in range(1, len(good), 11):
        with pytest.raises(FileFormatError, match="damaged or not Parquet"):
            documents(write(path, good[:cut]))
    for at in range(0, len(good), 5):
        with contextlib.suppress(FileFormatError):
            assert documents(write(path, good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])) == expected


@pytest.mark.parametrize(
    ("suffix", "packed"),
    [(".txt", ".zst"), (".jsonl", ".gz"), *(pytest.param(".csv", p, marks=pytest.mark.slow) for p in (".gz", ".zst"))],
)
def test_a_decompression_bomb_passes_through_bounded_memory(tmp_path, monkeypatch, suffix, packed):
    monkeypatch.setattr(base, "MAX_RECORD", 8 << 20)
    monkeypatch.setattr("tinylm.data.readers.delimited.MAX_RECORD", 8 << 20)
    path = write(tmp_path / f"bomb{suffix}{packed}", PACK[packed](b"text\n" + b" " * (100 << 20)))
    tracemalloc.start()
    try:
        if suffix == ".txt":
            assert sum(len(text) for text, _ in open_corpus(path).pieces()) == 5 + (100 << 20)
        else:
            with pytest.raises(FileFormatError, match="too large"):
                documents(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80 << 20


@pytest.mark.parametrize("suffix", READERS)
def test_random_bytes_are_a_clear_error_whatever_the_suffix(tmp_path, suffix):
    for packed in ("", ".gz", ".zst"):
        for seed in range(8):
            path = write(tmp_path / f"a{suffix}{packed}", random.Random(seed).randbytes(400))
            with pytest.raises(TinylmError):
                documents(path)


@pytest.mark.parametrize(("name", "module"), [("a.txt.zst", "zstandard"), ("a.parquet", "pyarrow")])
def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    path = write(tmp_path / name, b"whatever")
    with pytest.raises(TinylmError, match=r'pip install "tinylm\[data\]"'):
        documents(path)


# Repeats and surveys -------------------------------------------------------------------------------------


def test_repeats_are_left_out_and_counted_across_files_but_not_of_plain_text(tmp_path, monkeypatch):
    monkeypatch.setattr("tinylm.data.repeats._RECENT", 3)  # the sorted hashes are asked too
    texts = [str(i % 7) for i in range(30)]
    a = write(tmp_path / "a.jsonl", as_json_lines(texts))
    b = write(tmp_path / "b.csv", as_csv(["6", "new"]))
    c = write(tmp_path / "c.txt", "new")
    corpus = open_corpus([a, b, c], deduplicate=True)
    assert list(corpus.documents()) == [*texts[:7], "new", "new"]
    assert corpus.survey().omissions == ("left out 24 of 33 records that repeat an earlier one",)
    assert corpus.fingerprint() != open_corpus([a, b, c]).fingerprint()


def test_a_large_file_is_surveyed_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    from tinylm.data import survey

    monkeypatch.setattr(survey, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(survey, "_REMEMBERED_FROM", 1)
    path = write(tmp_path / "a.jsonl", as_json_lines(TEXTS) + b"broken\n")
    fresh = open_corpus(path).survey()
    assert not (tmp_path / "cache").exists()  # it may change again within one tick of the clock
    past = path.stat().st_mtime_ns - 10**10
    os.utime(path, ns=(past, past))
    assert open_corpus(path).survey() == fresh
    reads: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(Corpus, "pieces", None)  # what is remembered is not read
        assert open_corpus(path).survey(lambda what, done, total: reads.append(done)) == fresh
        with pytest.raises(TypeError):
            open_corpus(path, strict=True).survey()
    os.utime(path, ns=(past, past + 1))
    open_corpus(path).survey(lambda what, done, total: reads.append(done))
    assert reads == [path.stat().st_size]
    for remembered in (tmp_path / "cache" / "surveys").iterdir():
        remembered.write_text("{}")
    assert open_corpus(path).survey() == fresh


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    path = write(tmp_path / "a.txt", "first")
    corpus = open_corpus(path)
    with pytest.raises(TinylmError, match="has changed while it was read"):
        corpus.survey(lambda what, done, total: write(path, "second, longer") and None)
