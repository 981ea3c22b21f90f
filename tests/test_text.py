"""Tokenizers: text to ids and back, one by one, and through tokenizer.json."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import FileFormatError, TinylmError
from tinylm.text import ByteTokenizer, CharTokenizer, PipelineTokenizer, Tokenizer, load_tokenizer

ALPHABET = "ab \n\tzé中\u0301\ufeff\0\x7f\U0001f600\U0010ffff\u2028"
texts = st.text(ALPHABET)
tokenizers = pytest.mark.parametrize("tokenizer", [CharTokenizer(ALPHABET), ByteTokenizer()], ids=["chars", "bytes"])


@tokenizers
@given(text=texts)
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids.tolist()) == text
    assert tokenizer.byte_lengths()[ids].sum() == len(text.encode())


@tokenizers
@given(pieces=st.lists(texts))
def test_a_text_in_pieces_has_the_ids_of_the_whole(tokenizer, pieces):
    joined = [id for ids in tokenizer.encode_chunks(pieces) for id in ids]
    assert joined == tokenizer.encode("".join(pieces)).tolist()


@tokenizers
@given(data=st.data())
def test_the_stream_gives_what_decode_gives_for_any_ids(tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    stream = tokenizer.stream()
    for _ in range(2):  # the end leaves it fresh
        assert "".join([*map(stream.feed, ids), stream.end()]) == tokenizer.decode(ids)


def test_the_stream_never_splits_a_character():
    stream = ByteTokenizer().stream()
    assert [stream.feed(byte) for byte in "é😀".encode()] == ["", "é", "", "", "", "😀"]
    assert stream.feed(0xC3) == ""
    assert stream.end() == "\ufffd"
    assert stream.end() == ""


def test_bytes_that_are_not_utf8_decode_to_replacement_characters():
    assert ByteTokenizer().decode([0xFF, 65, 0xC3]) == "\ufffdA\ufffd"


@tokenizers
def test_every_token_has_a_printable_form_and_its_bytes(tokenizer):
    shown = [tokenizer.token(id) for id in range(tokenizer.vocab_size)]
    assert all(form.isprintable() for form in shown)
    assert len(set(shown)) == tokenizer.vocab_size
    lengths = [len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
    assert tokenizer.byte_lengths().tolist() == lengths


def test_tokens_look_like_what_they_are():
    assert CharTokenizer("\né").token(0) == r"'\n'"
    assert CharTokenizer("\né").token(1) == "'é'"
    assert ByteTokenizer().token(0xE4) == "<0xE4>"
    assert ByteTokenizer().token(97) == "'a'"
    assert repr(CharTokenizer("ab")) == "CharTokenizer(vocab_size=2)"


@given(st.lists(st.text(ALPHABET), min_size=1).filter(any))
def test_training_takes_each_character_once_in_order(chunks):
    tokenizer = CharTokenizer.train(iter(chunks))
    assert list(tokenizer.characters) == sorted(set("".join(chunks)))
    assert tokenizer.vocab_size == len(tokenizer.characters)


@pytest.mark.parametrize(
    ("characters", "words"),
    [
        ([], "no characters"),
        (["ab"], "'ab'"),
        ([1], "1"),
        ("aa", "'a' appears twice"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_characters_that_make_no_tokenizer_are_refused(characters, words):
    with pytest.raises(TinylmError, match=words):
        CharTokenizer(characters)


def test_training_on_nothing_is_refused():
    with pytest.raises(TinylmError, match="not empty"):
        CharTokenizer.train(["", ""])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("abX", r"'X' \(U\+0058\) at position 2"),
        ("a\U0001f600b\U0001f600", r"\(U\+1F600\) at position 1"),
        ("\ud800", r"U\+D800\) at position 0: a lone surrogate"),
    ],
)
def test_an_unknown_character_is_named_with_its_place(text, words):
    with pytest.raises(TinylmError, match=words):
        CharTokenizer("ab").encode(text)
    with pytest.raises(TinylmError, match=re.sub(r"position (\d)", lambda m: f"position {int(m[1]) + 3}", words)):
        list(CharTokenizer("ab").encode_chunks(["ab", "a", text]))


def test_a_lone_surrogate_has_no_bytes():
    with pytest.raises(TinylmError, match="position 1 is a lone surrogate"):
        ByteTokenizer().encode("a\udc80")


@tokenizers
@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([0, 300], "id 300 at position 1"),
        ([-1], "id -1"),
        (np.array([2**63], np.uint64), "9223372036854775808"),
        ([0.5], "float64"),
        ([[0]], r"shape \(1, 1\)"),
        (0, r"shape \(\)"),
        ([True], "bool"),
        (["a"], "<U1"),
    ],
)
def test_ids_that_do_not_exist_are_refused(tokenizer, ids, words):
    with pytest.raises(TinylmError, match=words):
        tokenizer.decode(ids)


@tokenizers
def test_only_text_is_encoded_and_nothing_is_nothing(tokenizer):
    with pytest.raises(TinylmError, match="expected a str, received bytes"):
        tokenizer.encode(b"abc")
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@tokenizers
def test_characters_and_bytes_go_at_more_than_20_megabytes_a_second(tokenizer):
    text = "a bazz za ab\n" * 150_000
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        ids = tokenizer.encode(text)
        seconds.append(time.perf_counter() - start)
    assert tokenizer.decode(ids) == text
    assert len(text) / min(seconds) > 20e6


@tokenizers
def test_a_saved_tokenizer_is_loaded_from_its_folder_or_file(tokenizer, tmp_path):
    path = tokenizer.save(tmp_path / "model")
    for place in (path, tmp_path / "model", str(path)):
        loaded = load_tokenizer(place)
        assert type(loaded) is type(tokenizer)
        assert loaded.to_json() == tokenizer.to_json()
        assert loaded.encode("ab é").tolist() == tokenizer.encode("ab é").tolist()


@given(characters=st.sets(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).map(list))
def test_any_vocabulary_survives_the_file(tmp_path_factory, characters):
    folder = tmp_path_factory.getbasetemp()
    CharTokenizer(characters).save(folder)
    assert load_tokenizer(folder).characters == "".join(characters)


GOOD = CharTokenizer("ab").to_json()
GPT2_LIKE = {**ByteTokenizer().to_json()["pre_tokenizer"], "use_regex": True}


def changed(part: str, value: object, where: dict = GOOD) -> dict:
    """tokenizer.json with one part, named by a dotted path, set to a value."""
    fields = copy.deepcopy(where)
    *outer, last = part.split(".")
    inner = fields
    for name in outer:
        inner = inner[name]
    inner[last] = value
    return fields


BYTES = ByteTokenizer().to_json()
bad_tokenizers = [
    ("model.type", "WordPiece", "model WordPiece field unk_token must be a string, not None"),
    (
        "model.type",
        "Lexicon",
        "model of type 'Lexicon' is not supported; supported: BPE, Unigram, WordLevel, WordPiece",
    ),
    ("model", None, "the file has no model"),
    ("model", [], "model"),
    ("model.merges", [["a", "b"]], "merge 0 of 'a' and 'b' makes no token"),
    ("model.merges", None, "merges"),
    ("model.fuse_unk", 0, "fuse_unk must be true or false, not 0"),
    ("model.dropout", 0.1, "dropout = 0.1"),
    ("model.other", 1, "'other'"),
    ("model.vocab", ["a"], "vocab must be an object"),
    ("model.vocab", {}, "no characters"),
    ("model.vocab", {"a": 0, "b": 2}, r"0\.\.1; 'b' has 2"),
    ("model.vocab", {"a": 0, "b": 0}, "'b' has 0"),
    ("model.vocab", {"a": 1, "b": 2}, "'a' has 1"),
    ("model.vocab", {"a": -1, "b": 0}, "'a' has -1"),
    ("model.vocab", {"a": False, "b": 1}, "whole number, not False"),
    ("model.vocab", {"a": 0.0, "b": 1}, r"whole number, not 0\.0"),
    ("model.vocab", {"a": "0"}, "whole number, not '0'"),
    ("model.vocab", {"a": 0, "bc": 1}, "'bc' is not one character"),
    ("model.vocab", {"": 0}, "'' is not one character"),
    ("normalizer", {"type": "Rot13"}, "normalizer of type 'Rot13' is not supported; supported: BertNormalizer, "),
    ("normalizer", "NFC", "normalizer must be a JSON object, not 'NFC'"),
    ("truncation", {"max_length": -5}, "truncation field max_length is -5, expected at least 0"),
    ("padding", {"strategy": "Most"}, "padding field strategy must be"),
    ("post_processor", {"type": "TemplateProcessing"}, "TemplateProcessing"),
    ("added_tokens", [{"id": 1, "content": "<s>"}], "has id 1 for '<s>' and for 'b'"),
    ("pre_tokenizer", {"type": "Split"}, "pre_tokenizer Split lacks the field 'pattern'"),
    ("decoder", {"type": "WordPiece", "prefix": 1}, "decoder WordPiece field prefix must be a string, not 1"),
    ("surprise", 1, "'surprise'"),
]


@pytest.mark.parametrize(("part", "value", "words"), bad_tokenizers)
def test_a_tokenizer_json_that_means_something_else_is_refused_by_name(tmp_path, part, value, words):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(changed(part, value)), encoding="utf-8")
    with pytest.raises(FileFormatError, match=words) as caught:
        load_tokenizer(path)
    assert caught.value.path == str(path)


READ = {
    "an unknown token": (changed("model.unk_token", "a"), "axb", [0, 0, 1]),
    "bytes of which there are none": (changed("model.byte_fallback", True), "ba", [1, 0]),
    "a normalizer": (changed("normalizer", {"type": "Lowercase"}), "AB", [0, 1]),
    "truncation": (changed("truncation", {"max_length": 5}), "ab", [0, 1]),
    "an added token": (changed("added_tokens", [{"id": 2, "content": "<s>"}]), "a<s>", [0, 2]),
    "words": (changed("pre_tokenizer", {"type": "Whitespace"}), "a b", [0, 1]),
    "words spelt in bytes": (changed("pre_tokenizer", GPT2_LIKE), "ab", [0, 1]),
    "no decoder": (changed("decoder", None), "ab", [0, 1]),
    "another decoder": (changed("decoder", {"type": "WordPiece"}), "ab", [0, 1]),
    "bytes with a space before them": (changed("pre_tokenizer.add_prefix_space", True, BYTES), "a", [32, 97]),
    "bytes that stay as they are spelt": (changed("decoder", {"type": "Fuse"}, BYTES), "a", [97]),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_more_than_our_own_tokenizers_is_read_component_by_component(tmp_path, name):
    fields, text, ids = READ[name]
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert type(tokenizer) is PipelineTokenizer
    assert tokenizer.encode(text).tolist() == ids
    assert tokenizer.to_json() == fields


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("model.vocab", {"a": 0}, "256 bytes"),
        ("pre_tokenizer.use_regex", 0, "pre_tokenizer ByteLevel field use_regex must be true or false, not 0"),
    ],
)
def test_a_byte_level_tokenizer_that_is_malformed_is_refused_by_name(tmp_path, part, value, words):
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed(part, value, BYTES)), encoding="utf-8")
    with pytest.raises(FileFormatError, match=words):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "malformed JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"model": {}, "model": {}}', "'model' appears twice"),
        (b'{"model": ' + b"[" * 100_000, "deeply"),
        (json.dumps(GOOD).encode()[:-20], "malformed JSON"),
        (json.dumps(GOOD).encode("utf-16"), "UTF-8"),
        (json.dumps(changed("model.vocab", {"\ud800": 0})).encode(), "surrogate"),
    ],
)
def test_a_malformed_tokenizer_json_is_refused(tmp_path, content, words):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=words):
        load_tokenizer(tmp_path)


def test_a_missing_tokenizer_is_refused_by_name(tmp_path):
    with pytest.raises(FileFormatError, match=r"tokenizer\.json: there is no such file"):
        load_tokenizer(tmp_path)


def test_text_imports_nothing_but_numpy():
    script = "import sys, tinylm.text; print([m for m in ('numba', 'regex', 'tokenizers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
