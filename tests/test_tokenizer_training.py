"""Learning WordPiece and Unigram: what is promised, and on texts that are small or odd."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.errors import TinylmError
from tinylm.text import END_OF_TEXT, load_tokenizer, train_unigram, train_wordpiece
from tinylm.text.lattice import Lattice

TOPICS = importlib.import_module("pydoc_data.topics").topics
ENGLISH = "\n".join(TOPICS[name] for name in sorted(TOPICS))[:40_000] + "春眠不觉晓。处处闻啼鸟。\n" * 20
UNIGRAM = train_unigram([ENGLISH], 700)
WORDPIECE = train_wordpiece([ENGLISH], 700)


@settings(max_examples=100)
@given(text=st.text("ab the\n\r\t .,1é中\U0001f600\u200d\0"))
def test_unigram_gives_any_text_back(text):
    assert UNIGRAM.decode(UNIGRAM.encode(text)) == text
    stream = UNIGRAM.stream()
    assert "".join([*map(stream.feed, UNIGRAM.encode(text)), stream.end()]) == text


def test_texts_become_short():
    for tokenizer in (UNIGRAM, WORDPIECE):
        assert tokenizer.vocab_size == 700
        assert len(tokenizer.encode(ENGLISH)) < 0.45 * len(ENGLISH)


def test_the_tokens_are_words_and_pieces_of_words():
    assert [WORDPIECE.token(id) for id in WORDPIECE.encode("The statement")] == ["' the'", "' statement'"]
    assert [UNIGRAM.token(id) for id in UNIGRAM.encode(" the statement")] == ["' the'", "' statement'"]


def test_the_result_does_not_depend_on_the_pieces_that_the_text_arrives_in(tmp_path):
    pieces = [ENGLISH[start : start + 777] for start in range(0, len(ENGLISH), 777)]
    for train in (train_unigram, train_wordpiece):
        assert train(pieces, 600).to_json() == train([ENGLISH], 600).to_json()


@pytest.mark.parametrize("tokenizer", [UNIGRAM, WORDPIECE], ids=["unigram", "wordpiece"])
def test_what_is_learnt_is_loaded_again(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.to_json() == tokenizer.to_json()
    assert np.array_equal(again.encode(ENGLISH), tokenizer.encode(ENGLISH))
    assert again.end_of_text == tokenizer.end_of_text


def test_the_end_of_a_text_is_a_token_of_its_own():
    end = UNIGRAM.end_of_text
    assert UNIGRAM.encode(f"a{END_OF_TEXT}b").tolist()[1] == end
    assert UNIGRAM.byte_lengths()[end] == 0


@pytest.mark.parametrize("train", [train_unigram, train_wordpiece])
def test_a_size_without_room_for_words_is_refused(train):
    with pytest.raises(TinylmError, match="vocab_size is 7, expected more than"):
        train(["some text"], 7)
    small = train(["to be or not to be, to be or not"], 1000)
    assert small.vocab_size < 330


def test_expected_counts_are_those_of_all_cuts_weighed_by_their_probability():
    tokens = ["a", "b", "ab", "ba"]
    scores = np.log([0.3, 0.2, 0.4, 0.1])
    lattice = Lattice(["aba", "b", "xa"], tokens, longest=2)
    # aba: a+b+a, ab+a, a+ba
    cuts = {("a", "b", "a"): 0.3 * 0.2 * 0.3, ("ab", "a"): 0.4 * 0.3, ("a", "ba"): 0.3 * 0.1}
    expected = [sum(p * cut.count(token) for cut, p in cuts.items()) / sum(cuts.values()) for token in tokens]
    counts = lattice.expected_counts(scores, np.array([5.0, 2.0, 7.0]))
    assert np.allclose(counts, 5 * np.array(expected) + [0, 2, 0, 0])  # xa cannot be cut
    assert np.allclose(lattice.best(scores), [np.log(0.12), np.log(0.2), -np.inf])
    assert lattice.best(np.array([*scores[:3], -np.inf]))[0] == np.log(0.4) + np.log(0.3)
