"""Our tokenizer.json in the hands of the `tokenizers` library: the same ids and the same text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.text import ByteTokenizer, CharTokenizer, load_tokenizer

library = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.oracle

ALPHABET = "abc XYZ\n\r\t.,;'!?é中\u0301\u200d\ufeff\0\x7f\xa0\U0001f600\U0010ffff\u2028Ġ▁"
CHARS, BYTES = CharTokenizer(ALPHABET), ByteTokenizer()


@pytest.fixture(scope="module", params=[CHARS, BYTES], ids=["chars", "bytes"])
def pair(request, tmp_path_factory):
    path = request.param.save(tmp_path_factory.mktemp("tokenizer"))
    return request.param, library.Tokenizer.from_file(str(path))


@settings(max_examples=300, deadline=None)
@given(text=st.text(ALPHABET))
def test_the_library_gives_the_same_ids_and_the_same_text(pair, text):
    ours, theirs = pair
    ids = ours.encode(text).tolist()
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids) == text
    assert theirs.get_vocab_size() == ours.vocab_size


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_agree_on_all_of_unicode(text):
    theirs = library.Tokenizer.from_str(json.dumps(BYTES.to_json()))
    assert theirs.encode(text).ids == BYTES.encode(text).tolist()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_ids_decode_to_the_same_text(pair, data):
    ours, theirs = pair
    ids = data.draw(st.lists(st.integers(0, ours.vocab_size - 1)))
    assert theirs.decode(ids) == ours.decode(ids)


def test_what_the_library_saves_again_is_still_ours(pair, tmp_path):
    ours, theirs = pair
    theirs.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).to_json() == ours.to_json()
