"""tokenizer.json of a byte-level BPE: what is read, and what is refused by its name."""

from __future__ import annotations

import copy
import json

import pytest

from tinylm.errors import FileFormatError
from tinylm.text import END_OF_TEXT, BPETokenizer, PipelineTokenizer, load_tokenizer, train_bpe

TOKENIZER = train_bpe(["the cat sat on the mat. " * 3], 256 + 9)
FIELDS = TOKENIZER.to_json()
TEXT = f"the cats, the mats{END_OF_TEXT} and 中文 !"


def changed(**parts: object) -> dict:
    """The fields with parts set, named by dotted paths with "__" for the dot."""
    fields = copy.deepcopy(FIELDS)
    for path, value in parts.items():
        *outer, last = path.split("__")
        inner = fields
        for name in outer:
            inner = inner[name]
        inner[last] = value
    return fields


def load(tmp_path, fields: dict) -> BPETokenizer:
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    return load_tokenizer(tmp_path)


def test_a_saved_tokenizer_is_loaded_from_its_folder_or_file(tmp_path):
    path = TOKENIZER.save(tmp_path / "model")
    for place in (path, tmp_path / "model", str(path)):
        loaded = load_tokenizer(place)
        assert loaded.to_json() == FIELDS
        assert loaded.end_of_text == TOKENIZER.end_of_text == 264
        assert loaded.encode(TEXT).tolist() == TOKENIZER.encode(TEXT).tolist()


def added(**flags: object) -> list[dict]:
    return [{**FIELDS["added_tokens"][0], **flags}]


SAME = {
    "merges as lists": changed(model__merges=[merge.split(" ") for merge in FIELDS["model"]["merges"]]),
    "no type of the model": {**FIELDS, "model": {k: v for k, v in FIELDS["model"].items() if k != "type"}},
    "empty affixes": changed(model__continuing_subword_prefix="", model__end_of_word_suffix=""),
    "unknown bytes that there are not": changed(model__unk_token="<|endoftext|>", model__fuse_unk=True),
    "a post-processor that moves places alone": changed(post_processor=FIELDS["decoder"]),
    "a template that adds nothing": changed(
        post_processor={"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "pair": []}
    ),
    "no word on the regex": changed(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False}),
    "a normalized added token": changed(added_tokens=added(normalized=True)),
}


@pytest.mark.parametrize("name", SAME)
def test_other_ways_to_write_the_same_are_read(tmp_path, name):
    assert load(tmp_path, SAME[name]).to_json() == FIELDS


def test_added_tokens_need_not_be_in_the_vocabulary(tmp_path):
    vocab = {token: id for token, id in FIELDS["model"]["vocab"].items() if token != END_OF_TEXT}
    extra = [*added(), *added(id=265, content="  ", special=False)]
    tokenizer = load(tmp_path, changed(model__vocab=vocab, added_tokens=extra))
    assert tokenizer.encode(f"a  b{END_OF_TEXT}").tolist()[1::2] == [265, 264]
    assert tokenizer.byte_lengths()[[264, 265]].tolist() == [0, 2]


def test_a_prefix_space_is_read_and_written(tmp_path):
    tokenizer = load(tmp_path, changed(pre_tokenizer__add_prefix_space=True))
    assert tokenizer.decode(tokenizer.encode("the")) == " the"
    assert tokenizer.to_json() == changed(pre_tokenizer__add_prefix_space=True)


VOCAB = FIELDS["model"]["vocab"]
REFUSED = {
    "a prefix that is neither": (
        changed(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": 1}),
        "add_prefix_space must be true or false, not 1",
    ),
    "a field of ours": (changed(pre_tokenizer__mine=1), "pre_tokenizer ByteLevel has the unknown field 'mine'"),
    "a post-processor without tokens": (
        changed(post_processor={"type": "RobertaProcessing"}),
        "post_processor RobertaProcessing lacks the field 'cls'",
    ),
    "a template that adds a token": (
        changed(
            post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]}
        ),
        "names the special token '<s>', whose ids are not in its special_tokens",
    ),
    "another model": (changed(model__type="Unigram"), "model Unigram field vocab must be a list"),
    "dropout": (changed(model__dropout=0.1), r"dropout = 0\.1"),
    "a vocabulary with a gap": (changed(model__vocab={**VOCAB, "zz": 999}), "each once; 'zz' has 999"),
    "an id twice": (changed(model__vocab={**VOCAB, "zz": 3}), "each once"),
    "a negative id": (changed(model__vocab={**VOCAB, "zz": -1}), "'zz' has -1"),
    "an id that is no number": (changed(model__vocab={**VOCAB, "zz": True}), "whole number, not True"),
    "a token that spells no bytes": (changed(model__vocab={**VOCAB, "中": 265}), "holds '中', which spells no byte"),
    "an empty token": (changed(model__vocab={**VOCAB, "": 265}), "empty token"),
    "merges that are no list": (changed(model__merges={}), "merges must be a list"),
    "a merge of three": (changed(model__merges=["t h e"]), "merge 0 must be two tokens, not 't h e'"),
    "a merge of numbers": (changed(model__merges=[[1, 2]]), r"merge 0, \[1, 2\]: 1 is not in the vocabulary"),
    "a merge of nothing": (changed(model__merges=[["t", ""]]), "'' is not in the vocabulary"),
    "a merge of a stranger": (changed(model__merges=["t h", "xx y"]), "merge 1, 'xx y': 'xx'"),
    "a merge that makes no token": (changed(model__merges=["z z"]), "makes no token"),
    "a merge twice": (changed(model__merges=[*FIELDS["model"]["merges"]] * 2), "appears twice"),
    "added tokens that are no list": (changed(added_tokens={}), "added_tokens must be a list"),
    "an added token that may take spaces": (changed(added_tokens=added(lstrip=1)), "lstrip must be true or false"),
    "an added token without an id": (changed(added_tokens=added(id=None)), "a whole number as id"),
    "an added token of nothing": (changed(added_tokens=added(content="")), "a content"),
    "an added token with two ids": (changed(added_tokens=added(id=3)), "has id 3, in vocab 264"),
    "an added token far away": (changed(added_tokens=added(id=999, content="<pad>")), "has 999"),
    "an added token twice": (changed(added_tokens=added() * 2), "an id of its own"),
    "an added token that may be bytes": (changed(added_tokens=[*added(), *added(id=265, content="éa")]), "spelling of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_mean_something_else_is_refused_by_its_name(tmp_path, name):
    fields, words = REFUSED[name]
    with pytest.raises(FileFormatError, match=words) as caught:
        load(tmp_path, fields)
    assert caught.value.path == str(tmp_path / "tokenizer.json")


MORE = {
    "a normalizer": changed(normalizer={"type": "NFC"}),
    "a sequence of splits": changed(pre_tokenizer={"type": "Sequence", "pretokenizers": [FIELDS["pre_tokenizer"]]}),
    "no split": changed(pre_tokenizer__use_regex=False),
    "a prefix space by default": changed(pre_tokenizer={"type": "ByteLevel"}),
    "another decoder": changed(decoder={"type": "BPEDecoder"}),
    "truncation": changed(truncation={"max_length": 8}),
    "padding": changed(padding={"pad_id": 0}),
    "whole words first": changed(model__ignore_merges=True),
    "an added token with a space to its left": changed(added_tokens=added(lstrip=True)),
    "an added token as a word of its own": changed(added_tokens=added(single_word=True)),
    "an unknown token that counts": changed(
        model__unk_token="b", model__vocab={"a": 0, "b": 1}, model__merges=[], added_tokens=[]
    ),
    "added tokens that overlap": changed(added_tokens=[*added(), *added(id=265, content=">>", normalized=True)]),
}


@pytest.mark.parametrize("name", MORE)
def test_a_byte_level_bpe_with_more_to_it_is_read_component_by_component(tmp_path, name):
    tokenizer = load(tmp_path, MORE[name])
    assert type(tokenizer) is PipelineTokenizer
    assert tokenizer.to_json() == MORE[name]
    assert len(tokenizer.encode("ab")) in (1, 2, 3)
