"""Marian's tokenizer beside transformers' MarianTokenizer, on SentencePieces trained here; folders both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from tokenizer_texts import CHINESE, CODE, ENGLISH, TEXTS, texts

from tinylm import load
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import convert, save_model
from tinylm.models import Marian, MarianConfig
from tinylm.nn import Initializer
from tinylm.text import MarianTokenizer, Padding, Truncation, load_tokenizer

sentencepiece = pytest.importorskip("sentencepiece")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


def train(file: Path, text: str, size: int) -> list[str]:
    """A SentencePiece as Marian's are, written to a file; returns its pieces."""
    lines = file.with_suffix(".txt")
    lines.write_text(text, encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(lines), model_prefix=str(file.with_suffix("")), vocab_size=size, character_coverage=0.995,
        bos_id=-1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    file.with_suffix(".model").rename(file)
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return [model.id_to_piece(i) for i in range(model.get_piece_size()) if not model.is_control(i)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("marian")
    pieces = {*train(path / "source.spm", ENGLISH, 400), *train(path / "target.spm", CODE + CHINESE * 20, 500)}
    # As in Marian's own tables, not all pieces have an id, and there are codes of languages.
    kept = sorted(pieces - {"<unk>"})[::-1][: int(len(pieces) * 0.9)]
    vocabulary = ["</s>", "<unk>", ">>fra<<", ">>zho<<", *kept, "<pad>"]
    (path / "vocab.json").write_text(json.dumps({token: id for id, token in enumerate(vocabulary)}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Any, MarianTokenizer]:
    ours = load_tokenizer(folder)
    assert isinstance(ours, MarianTokenizer)
    return transformers.MarianTokenizer.from_pretrained(folder), ours


def assert_same(pair: tuple[Any, MarianTokenizer], text: str) -> None:
    theirs, ours = pair
    assert ours.inputs(text).ids.tolist() == theirs(text).input_ids
    assert ours.inputs(text, target=True).ids.tolist() == theirs(text_target=text).input_ids
    ids = ours.encode(text, target=True).tolist()
    assert ours.decode(ids, skip_special=True).strip() == theirs.decode(ids, skip_special_tokens=True)


@settings(max_examples=150)
@given(text=texts)
def test_any_text_has_the_same_ids_as_a_source_and_as_a_target(pair, text):
    assert_same(pair, text)


MARKED = ["", " ", ">>fra<< Hello", ">>fra<<", ">> a << b", "a</s>b <pad>", "x>>zho<<y", "\x85", "a \ufffd\u033c\x1f"]


@pytest.mark.parametrize("text", [*MARKED, *TEXTS.values()])
def test_codes_of_languages_special_tokens_and_long_texts_too(pair, text):
    assert_same(pair, text)


def test_a_stream_gives_the_text_of_all_ids(pair):
    _, ours = pair
    ids = ours.encode(CODE[:300], target=True)
    stream = ours.stream()
    assert "".join([*map(stream.feed, ids), stream.end()]) == ours.decode(ids)


def test_a_folder_goes_to_transformers_and_comes_back_with_its_tokenizer(folder, pair, tmp_path):
    torch = pytest.importorskip("torch")
    _, tokenizer = pair
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    widths = {"d_model": 16, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "max_position_embeddings": 64}
    pad = tokenizer.vocab_size - 1
    tokens = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": 0, "init_std": 0.5}
    model = Marian(MarianConfig(tokenizer.vocab_size, **sizes, **widths, **tokens), Initializer(0))
    generation = {"forced_eos_token_id": 0, "bad_words_ids": [[pad]]}
    save_model(tmp_path / "ours", model, tokenizer, generation=generation)
    convert(tmp_path / "ours", tmp_path / "again")
    for path in (tmp_path / "ours", tmp_path / "again"):
        theirs = transformers.AutoTokenizer.from_pretrained(path)
        writer = transformers.MarianMTModel.from_pretrained(path).eval()
        batch = theirs("the cat sat on the mat", return_tensors="pt")
        with torch.no_grad():
            ids = writer.generate(**batch, max_new_tokens=12, num_beams=1, do_sample=False)[0]
        lm = load(path)
        text = lm.generate("the cat sat on the mat", max_tokens=12, temperature=0)
        assert text.strip() == theirs.decode(ids, skip_special_tokens=True)
    transformers.MarianTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "theirs")
    assert np.array_equal(load_tokenizer(tmp_path / "theirs").encode(ENGLISH), tokenizer.encode(ENGLISH))


def test_sequences_are_cut_and_filled_up(pair):
    _, ours = pair
    inputs = ours.inputs("the cat sat on the mat", truncation=Truncation(5), padding=Padding(7, length=8))
    assert inputs.ids[4:].tolist() == [0, 7, 7, 7]
    assert inputs.mask.tolist() == [True] * 5 + [False] * 3


def test_what_is_missing_or_malformed_is_named(folder, pair, tmp_path):
    for name in ("source.spm", "target.spm", "vocab.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    for content, words in [
        ('{"a": 1, "b": 1}', "an id for two tokens"),
        ('{"a": 0}', "lacks </s>, <unk>, <pad>"),
        ("[]", "expected an object"),
    ]:
        (tmp_path / "vocab.json").write_text(content)
        with pytest.raises(FileFormatError, match=words):
            load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(FileFormatError, match=r"vocab\.json: is missing"):
        load_tokenizer(tmp_path)
    with pytest.raises(TinylmError, match="id 9999 at position 0"):
        pair[1].decode([9999])
    with pytest.raises(TinylmError, match="two SentencePieces"):
        pair[1].to_json()
