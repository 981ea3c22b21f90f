"""Windows over long texts, and the characters that tokens stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import TinylmError
from tinylm.text import Padding, PipelineTokenizer, Truncation, load_tokenizer, train_bpe

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s", "now", "!", "?", "who", "cafe"]
CLS, SEP = 2, 3


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> PipelineTokenizer:
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, PipelineTokenizer)
    return tokenizer


def test_each_token_stands_for_its_characters_whatever_the_normalizer_has_done_to_them(bert) -> None:
    text = "The  CAF\u00c9 sleeps\u200b, cafe\u0301!"
    (window,) = bert.windows(text)
    found = [text[start:end] for start, end in window.offsets]
    assert found == ["", "The", "CAF\u00c9", "sleep", "s", ",", "cafe", "!", ""]
    assert window.texts.tolist() == [-1, *[0] * 7, -1]
    assert window.ids.tolist() == bert.inputs(text).ids.tolist()


@given(
    context=st.lists(st.sampled_from(["the cat", "sleeps", "now!", "x"]), min_size=1, max_size=30).map(" ".join),
    room=st.integers(3, 9),
    stride=st.integers(0, 2),
    side=st.sampled_from(["right", "left"]),
)
def test_windows_cover_the_text_and_overlap_by_the_stride(bert, context, room, stride, side) -> None:
    question = "who sleeps?"
    special = len(bert.inputs(question, "").ids)
    windows = bert.windows(question, context, truncation=Truncation(room + special, "second", side, stride))
    assert all(len(window.ids) <= room + special for window in windows)
    assert all((window.type_ids[window.texts >= 0] == window.texts[window.texts >= 0]).all() for window in windows)
    places = [window.offsets[window.texts == 1].tolist() for window in windows]
    first, *others = places if side == "right" else places[::-1]
    for place in others:
        assert place[:stride] == first[len(first) - stride :]
        first = first + place[stride:]
    (whole,) = bert.windows(context, truncation=None, special_tokens=False)
    assert first == whole.offsets.tolist()


def test_windows_are_padded_to_one_length_and_padding_stands_for_nothing(bert) -> None:
    windows = bert.windows("the cat sleeps now", truncation=Truncation(5), padding=Padding(0))
    assert [window.ids.tolist() for window in windows] == [[CLS, 5, 6, 7, SEP], [CLS, 8, 9, SEP, 0]]
    assert windows[1].mask.tolist() == [True] * 4 + [False]
    assert windows[1].texts[-1] == -1
    assert windows[1].offsets[-1].tolist() == [0, 0]


def test_a_stride_that_leaves_no_way_on_is_refused(bert) -> None:
    with pytest.raises(TinylmError, match="room for 2 tokens of the text, and overlaps by 2"):
        bert.windows("the cat sleeps now", truncation=Truncation(4, stride=2))


def test_what_is_no_text_is_refused_as_by_encode(bert) -> None:
    with pytest.raises(TinylmError, match="lone surrogate"):
        bert.windows("the \ud800")
    with pytest.raises(TinylmError, match="received bytes"):
        bert.windows(b"the")


@pytest.mark.parametrize(
    ("trims", "expected"), [(False, [(0, 1), (1, 2), (2, 3), (2, 3)]), (True, [(0, 1), (2, 2), (2, 3), (2, 3)])]
)
def test_all_bytes_of_a_character_stand_for_it_and_spaces_may_be_left_out(trims: bool, expected: list) -> None:
    fields = train_bpe(["abab"], 258).to_json()
    fields["post_processor"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trims}
    (window,) = PipelineTokenizer(fields).windows("a \u00e9")
    assert list(map(tuple, window.offsets.tolist())) == expected
