"""Byte-level BPE: training, words, merges, texts in pieces, special tokens."""

from __future__ import annotations

import importlib
import pickle
import re
import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tinylm.errors import TinylmError
from tinylm.text import END_OF_TEXT, AddedToken, BPETokenizer, train_bpe
from tinylm.text.bpe_training import count_words
from tinylm.text.split import LONGEST_WORD, PATTERNS, Splitter

TOPICS = importlib.import_module("pydoc_data.topics").topics
ENGLISH = "\n".join(TOPICS[name] for name in sorted(TOPICS))[:150_000]
TEXT = ENGLISH + "今天天气很好。我们去公园。" * 20 + "😀👩\u200d👩\u200d👧 don't we're they'll " * 20
TOKENIZER = train_bpe([TEXT], 700)
PREFIXED = BPETokenizer(TOKENIZER.tokens, TOKENIZER.merges, added=TOKENIZER.added, prefix_space=True)

# What is hard to split: contractions, runs of white space, marks and surrogate pairs that are one character here.
PIECES = ["'", "'r", "e", "'ll", "s", " ", "  ", "\n", "\t", "\u3000", "a", "Zé", "中", "1", "½", "!", "<|", "<|end",
          "oftext|>", END_OF_TEXT, "\u0301", "😀", "👩\u200d👧", "\0", "the ", " world"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=25).map("".join)


def plain_words(text: str, longest: int, added=(END_OF_TEXT,)) -> list[str]:
    """The words of a whole text, as the rule is stated."""
    pattern = regex.compile(PATTERNS["gpt2"].replace("+", f"{{1,{longest}}}"))
    words: list[str] = []
    for number, part in enumerate(re.split("(" + "|".join(map(re.escape, added)) + ")", text)):
        words += [part] if number % 2 else pattern.findall(part)
    return words


def plain_merges(word: str, tokenizer: BPETokenizer) -> list[int]:
    """One merge after another, each time looking at the whole word."""
    ids = [tokenizer.tokens.index(bytes([byte])) for byte in word.encode()]
    for pair in tokenizer.merges:  # each can only make room for later ones
        product = tokenizer.tokens.index(tokenizer.tokens[pair[0]] + tokenizer.tokens[pair[1]])
        at = 0
        while at < len(ids) - 1:
            if (ids[at], ids[at + 1]) == pair:
                ids[at : at + 2] = [product]
            at += 1
    return ids


def cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(text=texts)
def test_decoding_gives_the_text_back(text):
    ids = TOKENIZER.encode(text)
    assert ids.dtype == np.int32
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.byte_lengths()[ids].sum() == len(text.replace(END_OF_TEXT, "").encode())


@given(text=texts)
def test_encoding_is_what_merging_by_hand_gives(text):
    expected = []
    for word in plain_words(text, LONGEST_WORD):
        expected += [TOKENIZER.end_of_text] if word == END_OF_TEXT else plain_merges(word, TOKENIZER)
    assert TOKENIZER.encode(text).tolist() == expected


@given(text=texts, longest=st.integers(1, 5), data=st.data())
def test_words_are_the_same_wherever_a_text_is_cut(text, longest, data):
    added = data.draw(st.sampled_from([(), (END_OF_TEXT,), ("<|", "<|end|>", END_OF_TEXT, "e", "  ")]))
    splitter = Splitter(added, longest=longest)
    longest_first = sorted(added, key=len, reverse=True) or ["\uffff"]
    expected = plain_words(text, longest, longest_first)
    assert [word for words in splitter.stream(cut(data, text)) for word in words] == [w for w in expected if w]


@given(text=texts, data=st.data())
def test_every_cut_of_a_text_gives_the_ids_of_the_whole(text, data):
    whole = TOKENIZER.encode(text).tolist()
    for place in range(len(text) + 1):
        ids = [id for ids in TOKENIZER.encode_chunks([text[:place], text[place:]]) for id in ids]
        assert ids == whole
    assert [id for ids in TOKENIZER.encode_chunks(cut(data, text)) for id in ids] == whole


@given(text=texts, more=texts, prefix_space=st.booleans())
def test_a_safe_cut_holds_whatever_follows(text, more, prefix_space):
    tokenizer = PREFIXED if prefix_space else TOKENIZER
    cut = tokenizer.safe_cut(text)
    parts = [tokenizer.encode(text[:cut]), tokenizer.encode(text[cut:] + more)]
    assert np.concatenate(parts).tolist() == tokenizer.encode(text + more).tolist()


@pytest.mark.parametrize("text", ["word " * 100, "x" * (2 * LONGEST_WORD), "!" * 9 + "中" * 100_000, " " * 200_000])
def test_a_long_text_has_a_safe_cut(text):
    assert 0 < TOKENIZER.safe_cut(text) <= len(text)


def test_long_texts_in_pieces_have_the_ids_of_the_whole():
    text = (TEXT * 2)[:299_999] + "x" * (2 * LONGEST_WORD + 7) + " " * (LONGEST_WORD + 1) + "end"
    whole = TOKENIZER.encode(text)
    for size in (1000, 65_537, 131_072, 400_000):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert np.array_equal(np.concatenate(list(TOKENIZER.encode_chunks(pieces))), whole)
    assert TOKENIZER.decode(whole) == text


def test_a_prefix_space_comes_before_each_stretch_between_added_tokens():
    tokenizer = PREFIXED
    assert tokenizer.decode(tokenizer.encode(f"the{END_OF_TEXT}the{END_OF_TEXT} a")) == f" the{END_OF_TEXT} the" + (
        f"{END_OF_TEXT} a"
    )
    assert tokenizer.encode("").size == 0
    text = f"a\nb{END_OF_TEXT}\n c"
    for place in range(len(text)):
        ids = [id for ids in tokenizer.encode_chunks([text[:place], text[place:]]) for id in ids]
        assert ids == tokenizer.encode(text).tolist()


def test_the_most_frequent_pair_is_merged_and_of_equals_the_one_with_smaller_ids():
    tokenizer = train_bpe(["abcd abcd abcd ab cd b"], 256 + 5)
    merged = [tokenizer.tokens[left] + tokenizer.tokens[right] for left, right in tokenizer.merges]
    # "ab" and "cd" 4 times; then " " + "ab" and "ab" + "cd" 3 times, and the id of " " is 220, that of "ab" 256.
    assert merged == [b"ab", b"cd", b" ab", b" abcd"]
    assert tokenizer.vocab_size == 261
    assert tokenizer.tokens[-1] == END_OF_TEXT.encode()


def test_bytes_have_gpt2s_ids():
    assert TOKENIZER.tokens[:3] == (b"!", b'"', b"#")
    assert TOKENIZER.tokens[220] == b" "
    assert sorted(TOKENIZER.tokens[:256]) == [bytes([byte]) for byte in range(256)]


def test_overlapping_pairs_are_merged_from_the_left():
    tokenizer = train_bpe(["aaaaaaa bbb bbb"], 260)
    assert [tokenizer.tokens[a] + tokenizer.tokens[b] for a, b in tokenizer.merges][:1] == [b"aa"]
    assert [tokenizer.tokens[id] for id in tokenizer.encode("aaa")] == [b"aa", b"a"]


@given(data=st.data())
def test_training_depends_on_the_text_and_not_on_its_pieces(data):
    text = ENGLISH[:3000] + "'re  " * 3
    whole = train_bpe([text], 300)
    assert train_bpe(cut(data, text), 300).to_json() == whole.to_json()


def test_a_text_too_small_for_the_vocabulary_gives_a_smaller_one():
    tokenizer = train_bpe(["abab ab"], 4096)
    assert tokenizer.vocab_size == 256 + 1 + 1
    assert train_bpe([""], 4096).vocab_size == 257
    assert train_bpe(["é"], 4096).decode(train_bpe([""], 300).encode("é")) == "é"
    with pytest.raises(TinylmError, match="vocab_size is 257, expected at least 258"):
        train_bpe(["text"], 257)


def test_the_end_of_a_text_is_no_word_to_learn():
    assert END_OF_TEXT not in count_words([f"a{END_OF_TEXT}b b"])
    assert count_words([f"a{END_OF_TEXT}b b"]) == Counter({"a": 1, "b": 1, " b": 1})


def test_counting_forgets_the_rarest_words_where_memory_ends():
    words = [f" {letter * length}" for letter in "abcdefghij" for length in range(1, 10)]
    text = "".join(words) * 2 + " kept" * 300_000 + "".join(word + "x" for word in words)
    counts = count_words([text], max_letters=500)
    assert counts[" kept"] == 300_000
    assert sum(map(len, counts)) <= 500
    assert counts == count_words(
        [text[start : start + 99_999] for start in range(0, len(text), 99_999)], max_letters=500
    )


def test_one_long_word_trains_and_encodes_fast():
    word = "".join(np.random.default_rng(0).choice(list("etaoinshr"), 300_000))
    seconds = []
    for text in ("a" * 1_000_000, word):
        start = time.perf_counter()
        tokenizer = train_bpe([text], 400)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
        ids = tokenizer.encode(text)
        seconds.append(time.perf_counter() - start)
        assert tokenizer.decode(ids) == text
    assert max(seconds) < 10  # a quadratic step would take minutes


def test_a_text_without_spaces_is_encoded_in_bounded_memory():
    block = "etaoinshrdlu" * 1000
    pieces = (block for _ in range(100))
    tracemalloc.start()
    count = sum(len(ids) for ids in TOKENIZER.encode_chunks(pieces))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 100_000
    assert peak < 60e6  # the cache of words may take 32 MB


def test_special_tokens_are_found_in_the_text_and_count_no_bytes():
    end = TOKENIZER.end_of_text
    ids = TOKENIZER.encode(f"a{END_OF_TEXT}b").tolist()
    assert ids[1] == end == TOKENIZER.vocab_size - 1
    assert TOKENIZER.decode(ids) == f"a{END_OF_TEXT}b"
    assert TOKENIZER.token(end) == END_OF_TEXT
    assert TOKENIZER.token_bytes(end) == END_OF_TEXT.encode()
    assert TOKENIZER.byte_lengths()[end] == 0


def test_of_added_tokens_that_begin_together_the_longest_is_found():
    added = [AddedToken("<a>", 700), AddedToken("<a>b", 701, special=False)]
    tokens = [*TOKENIZER.tokens, b"<a>", b"<a>b"]
    tokenizer = BPETokenizer(tokens, TOKENIZER.merges, added=[*TOKENIZER.added, *added])
    assert [tokenizer.token(id) for id in tokenizer.encode("<a>bc<a>c")] == ["<a>b", "'c'", "<a>", "'c'"]
    assert tokenizer.byte_lengths()[[700, 701]].tolist() == [0, 4]


@given(data=st.data())
def test_the_stream_gives_what_decode_gives_for_any_ids(data):
    ids = data.draw(st.lists(st.integers(0, TOKENIZER.vocab_size - 1)))
    stream = TOKENIZER.stream()
    assert "".join([*map(stream.feed, ids), stream.end()]) == TOKENIZER.decode(ids)


def test_every_token_has_a_printable_form_of_its_own():
    shown = [TOKENIZER.token(id) for id in range(TOKENIZER.vocab_size)]
    assert all(form.isprintable() for form in shown)
    assert len(set(shown)) == TOKENIZER.vocab_size
    assert TOKENIZER.token(TOKENIZER.encode(" the")[0]) == "' the'"
    assert TOKENIZER.token(TOKENIZER.tokens.index(b"\xe4")) == "<0xE4>"


def test_a_lone_surrogate_is_named_with_its_place_in_the_whole_text():
    with pytest.raises(TinylmError, match="position 4 is a lone surrogate"):
        TOKENIZER.encode("abc \udc80")
    with pytest.raises(TinylmError, match="position 6 is a lone surrogate"):
        list(TOKENIZER.encode_chunks(["abc", "de", "f\ud800"]))
    with pytest.raises(TinylmError, match="lone surrogate"):
        train_bpe(["ab\ud800"], 300)


def test_only_text_is_encoded():
    with pytest.raises(TinylmError, match="expected a str, received bytes"):
        TOKENIZER.encode(b"abc")
    with pytest.raises(TinylmError, match="expected a str, received bytes"):
        list(TOKENIZER.encode_chunks([b"abc"]))
    assert TOKENIZER.encode("").shape == (0,)
    assert TOKENIZER.decode([]) == ""


def test_a_vocabulary_without_some_bytes_names_the_character_that_needs_them():
    tokenizer = BPETokenizer([b"a", b"b", b"ab"], [(0, 1)])
    assert tokenizer.encode("abba").tolist() == [2, 1, 0]
    with pytest.raises(TinylmError, match=r"'é' \(U\+00E9\) at position 3: this vocabulary lacks 254 of the 256 bytes"):
        list(tokenizer.encode_chunks(["ab", "aé"]))


@pytest.mark.parametrize(
    ("tokens", "merges", "added", "words"),
    [
        ([b"a", b"a"], [], [], "both token 0 and token 1"),
        ([b"a", b"b"], [(0, 1)], [], "makes no token"),
        ([b"a", b"aa"], [(0, 0), (0, 0)], [], "appears twice"),
        ([b"a", b"<s>"], [], [AddedToken("<e>", 1)], "'<e>' is not the text of token 1"),
        ([b"a"], [], [AddedToken("<e>", 1)], "an id of its own"),
    ],
)
def test_parts_that_make_no_tokenizer_are_refused(tokens, merges, added, words):
    with pytest.raises(TinylmError, match=words):
        BPETokenizer(tokens, merges, added=added)


def test_a_tokenizer_pickles_without_the_words_it_has_seen():
    TOKENIZER.encode(ENGLISH)
    raw = pickle.dumps(TOKENIZER)
    assert len(raw) < 20_000
    copy = pickle.loads(raw)
    assert copy.to_json() == TOKENIZER.to_json()
    assert np.array_equal(copy.encode(TEXT), TOKENIZER.encode(TEXT))


def test_words_that_are_kept_take_bounded_memory():
    from tinylm.text.words import CACHE_BYTES

    tokenizer = BPETokenizer(TOKENIZER.tokens, TOKENIZER.merges)
    text = "".join(f" {number:x}" for number in range(CACHE_BYTES // 256))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer._words) < CACHE_BYTES // 256


@given(text=texts, more=texts, longest=st.integers(1, 5), prefix_space=st.booleans())
def test_a_safe_cut_leaves_the_words_as_they_are_whatever_follows(text, more, longest, prefix_space):
    for added in ([END_OF_TEXT], [END_OF_TEXT, "e s", " \n", "!"], []):
        splitter = Splitter(added, longest=longest, prefix_space=prefix_space)
        place = splitter.safe_cut(text)
        assert splitter.split(text[:place]) + splitter.split(text[place:] + more) == splitter.split(text + more)


def test_a_safe_cut_is_found_near_the_end_of_any_prose():
    assert TOKENIZER.safe_cut(ENGLISH) > len(ENGLISH) - 200
    assert TOKENIZER.safe_cut("中" * 100) == TOKENIZER.safe_cut("   ") == 0
