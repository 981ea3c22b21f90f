"""tokenizer.json of other models when it is damaged: one clear error that names the file, in bounded time."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.errors import FileFormatError, TinylmError
from tinylm.text import PipelineTokenizer, load_tokenizer

MARK = "▁"
SPECIAL = {"id": 3, "content": "<s>", "lstrip": True, "rstrip": False, "single_word": False, "normalized": False}
LLAMA: dict[str, Any] = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
    "padding": {
        "strategy": {"Fixed": 9},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "<s>",
    },
    "added_tokens": [{**SPECIAL, "special": True}],
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFC"},
            {"type": "Prepend", "prepend": MARK},
            {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
        ],
    },
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "[0-9]+"}, "behavior": "Isolated", "invert": False},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}},
    },
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
    "model": {
        "type": "BPE",
        "unk_token": "u",
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": {MARK: 0, "a": 1, "u": 2, "<s>": 3, MARK + "a": 4},
        "merges": [MARK + " a"],
    },
}
BERT: dict[str, Any] = {
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {"type": "BertProcessing", "sep": ["s", 2], "cls": ["c", 3]},
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {
        "type": "WordPiece",
        "unk_token": "u",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 9,
        "vocab": {"u": 0, "a": 1, "s": 2, "c": 3, "##a": 4},
    },
}
T5: dict[str, Any] = {
    "pre_tokenizer": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True},
    "decoder": {"type": "Metaspace", "replacement": MARK, "prepend_scheme": "first", "split": True},
    "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [["u", 0.0], [MARK, -1], ["a", -2.5]]},
}
FILES = {"llama": LLAMA, "bert": BERT, "t5": T5}
damaged_files = pytest.mark.parametrize("name", ["bert", "t5", pytest.param("llama", marks=pytest.mark.slow)])
ODD = [None, True, -1, 0.5, 10**30, "", "x", "[", [], {}, [[]], {"type": "x"}, ["a"] * 3, {"a": {}}, "\ud7ff"]


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Each place in a JSON value, from the outermost."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def use(folder: Any) -> bool:
    """Load what the folder holds and encode with it; whether that went well. Anything but a clear error is raised."""
    begin = time.process_time()
    complaint = None
    try:
        tokenizer = load_tokenizer(folder)
        tokenizer.decode(tokenizer.encode("a 1ab Ü<s>"))
        if isinstance(tokenizer, PipelineTokenizer):
            tokenizer.inputs("a", "b a")
    except FileFormatError as error:
        complaint = str(error)
    except TinylmError:  # of the text, not the file
        pass
    assert time.process_time() - begin < 2
    assert complaint is None or ("tokenizer.json" in complaint and len(complaint) < 1000)
    return complaint is None


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_whole_before_they_are_damaged(tmp_path, name):
    (tmp_path / "tokenizer.json").write_text(json.dumps(FILES[name]), encoding="utf-8")
    assert use(tmp_path)
    assert load_tokenizer(tmp_path).to_json() == FILES[name]


@damaged_files
def test_a_part_of_another_type_is_refused_by_name_or_means_something(tmp_path, name):
    refused = 0
    every = places(FILES[name])
    for number, (*outer, last) in enumerate(place for place in every if place):
        for value in (ODD[number % len(ODD)], ODD[(number * 7 + 3) % len(ODD)]):
            fields = copy.deepcopy(FILES[name])
            inner: Any = fields
            for key in outer:
                inner = inner[key]
            inner[last] = value
            (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
            refused += not use(tmp_path)
    assert refused > len(every)


@damaged_files
def test_a_part_that_is_missing_or_unknown_is_refused_or_has_a_default(tmp_path, name):
    for *outer, last in (place for place in places(FILES[name]) if place):
        for change in ("remove", "add"):
            fields = copy.deepcopy(FILES[name])
            inner: Any = fields
            for key in outer:
                inner = inner[key]
            if change == "remove":
                del inner[last]
            elif isinstance(inner, dict) and "type" in inner:
                inner["surprise"] = 1
            (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
            went_well = use(tmp_path)
            assert not (change == "add" and isinstance(inner, dict) and "surprise" in inner and went_well)


@damaged_files
def test_a_flipped_or_cut_file_is_refused_or_read(tmp_path, name):
    raw = json.dumps(FILES[name], ensure_ascii=False).encode()
    rng = random.Random(name)
    for at in range(0, len(raw), 7):
        flipped = raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
        for damaged in (flipped, raw[:at]):
            (tmp_path / "tokenizer.json").write_bytes(damaged)
            use(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"model": NaN}', "NaN is not a JSON number"),
        ('{"model": {}, "model": {}}', "the key 'model' appears twice"),
        ('{"normalizer": ' + '{"type": "Sequence", "normalizers": [' * 20_000, "deep"),
        (
            '{"model": {"type": "WordLevel", "vocab": {}}, "normalizer": '
            + '{"type": "Sequence", "normalizers": [' * 300
            + "]}" * 300
            + "}",
            "deep",
        ),
        ('{"model": {"type": "WordLevel", "vocab": {"a": 4194304}}}', "is 4194304, expected 0..4,194,303"),
        ('{"model": {"type": "WordLevel", "vocab": {"a": 1, "b": 1}}}', "'a' and 'b' have the same id, 1"),
        ('{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0]]}}', "unk_id must be an id or null, not 9"),
        ('{"model": {"type": "Unigram", "vocab": [["a", 0], ["a", 1]]}}', "has 'a' twice"),
        (
            '{"model": {"type": "WordLevel", "vocab": {}}, "normalizer": {"type": "Precompiled", '
            '"precompiled_charsmap": "AAAA"}}',
            "precompiled_charsmap: a trie of 0 bytes does not fit into 3 bytes",
        ),
        (
            '{"model": {"type": "WordLevel", "vocab": {}}, "pre_tokenizer": {"type": "Split", "behavior": "Removed", '
            '"invert": false, "pattern": {"Regex": "(a"}}}',
            "the pattern '\\(a' cannot be read: missing \\)",
        ),
    ],
)
def test_what_json_allows_and_no_tokenizer_means_is_refused_by_name(tmp_path, text, words):
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=words):
        load_tokenizer(tmp_path)


def test_ids_may_have_gaps_which_are_no_tokens():
    fields = {"model": {"type": "WordLevel", "unk_token": "u", "vocab": {"u": 7, "a": 2}}}
    tokenizer = PipelineTokenizer(fields)
    assert tokenizer.vocab_size == 8
    assert tokenizer.encode("a").tolist() == [2]
    assert tokenizer.byte_lengths().tolist() == [0, 0, 2, 0, 0, 0, 0, 2]
    with pytest.raises(TinylmError, match="there is no token with id 3"):
        tokenizer.decode([2, 3])


@settings(max_examples=50)
@given(first=st.integers(0, 12), second=st.integers(0, 12) | st.none(), length=st.integers(2, 16))
def test_what_is_cut_is_never_longer_than_asked_for(first, second, length):
    tokenizer = PipelineTokenizer({**LLAMA, "truncation": {"max_length": length}, "padding": None})
    inputs = tokenizer.inputs("1a" * first, None if second is None else "1a" * second)
    assert len(inputs.ids) <= length
    assert inputs.ids.shape == inputs.type_ids.shape == inputs.mask.shape
