"""BERT in GGUF: written and read back, with its WordPiece, its pooler and its pooling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bounded import run_bounded

import tinylm
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import Pooling, convert, open_model, read_pooling, save_model
from tinylm.formats.gguf.reading import read_gguf
from tinylm.formats.gguf.writing import write_gguf
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.text import Tokenizer, load_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sleep", "##s", "now", "!", "?", "who", "café"]
TEXTS = ["The cat sleeps now!", "who sleeps, the cat?", "", "CAFÉs"]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "max_position_embeddings": 20, "initializer_range": 0.2, "type_vocab_size": 3}  # fmt: skip


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return load_tokenizer(tmp_path / "words")


def bert(head: str = "none", **settings) -> Bert:
    model = Bert(BertConfig(len(WORDS), **{**SIZES, **settings}), Initializer(0), head)
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        if parameter.data.ndim == 1:
            parameter.data = (parameter.data + 0.2 * rng.standard_normal(parameter.shape)).astype(np.float32)
    return model


@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("mode", ["mean", "first"])
def test_a_bert_comes_back_with_its_vectors_its_pooler_and_its_words(tmp_path, tokenizer, pooler, mode) -> None:
    save_model(tmp_path / "m", bert(add_pooling_layer=pooler), tokenizer, pooling=Pooling(mode))
    lm, again = tinylm.load(tmp_path / "m"), tinylm.load(convert(tmp_path / "m", tmp_path / "m.gguf"))
    for text in TEXTS:
        for other in (None, "the cat"):
            ours, theirs = again.tokenizer.inputs(text, other), tokenizer.inputs(text, other)
            assert np.array_equal(ours.ids, theirs.ids)
            assert np.array_equal(ours.type_ids, theirs.type_ids)
    assert np.array_equal(again.embed(TEXTS), lm.embed(TEXTS))
    assert (again.model.pooler is not None) == pooler
    assert again.config.type_vocab_size == 3
    for (name, one), other in zip(lm.model.named_parameters(), again.model.parameters(), strict=True):
        assert np.array_equal(one.data, other.data), name
    convert(tmp_path / "m.gguf", tmp_path / "back")
    assert np.array_equal(tinylm.load(tmp_path / "back").embed(TEXTS), lm.embed(TEXTS))


def test_positions_types_and_norms_stay_float32_in_a_packed_file(tmp_path, tokenizer) -> None:
    save_model(tmp_path / "m", bert(), tokenizer)
    file = convert(tmp_path / "m", tmp_path / "m.gguf", dtype="q8_0")
    tensors = read_gguf(file).tensors
    assert {tensors.stored(f"{name}.weight").dtype for name in ("blk.0.ffn_up", "token_embd", "cls")} == {"q8_0"}
    kept = ("position_embd", "token_types", "token_embd_norm")
    assert {tensors.stored(f"{name}.weight").dtype for name in kept} == {"float32"}
    exact, packed = tinylm.load(tmp_path / "m").embed(TEXTS), tinylm.load(file).embed(TEXTS)
    assert np.abs(exact - packed).max() < 0.05 * np.abs(exact).max()


def test_what_gguf_has_no_words_for_is_refused(tmp_path, tokenizer) -> None:
    for model, pooling, words in [
        (bert("masked_language"), Pooling(), "BertForMaskedLM, with a head, has no place in GGUF"),
        (bert(), Pooling("max"), "max pooling has no place in GGUF"),
        (bert(hidden_act="relu"), Pooling(), "hidden_act='relu' has no place in GGUF"),
    ]:
        save_model(tmp_path / "m", model, tokenizer, pooling=pooling)
        with pytest.raises(TinylmError, match=words):
            convert(tmp_path / "m", tmp_path / "m.gguf")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("bert.pooling_type", 3, "pooling_type is 3; supported: the mean"),
        ("bert.attention.causal", True, "bert.attention.causal is True, which is not supported"),
    ],
)
def test_a_file_that_would_compute_something_else_is_refused(tmp_path, tokenizer, key, value, words) -> None:
    save_model(tmp_path / "m", bert(), tokenizer)
    opened = read_gguf(convert(tmp_path / "m", tmp_path / "m.gguf"))
    write_gguf(tmp_path / "other.gguf", dict(opened.metadata) | {key: value}, opened.tensors)
    with pytest.raises(FileFormatError, match=words):
        tinylm.load(tmp_path / "other.gguf").embed(["the cat"])


def test_how_an_encoder_pools_is_saved_with_it(tmp_path, tokenizer) -> None:
    save_model(tmp_path / "m", bert(), tokenizer, pooling=Pooling("first", True, 7))
    tinylm.load(tmp_path / "m").save(tmp_path / "again")
    convert(tmp_path / "again", tmp_path / "converted", to="safetensors")
    for folder in ("m", "again", "converted"):
        assert read_pooling(tmp_path / folder) == Pooling("first", True, 7)
        assert open_model(tmp_path / folder).get_pooling() == Pooling("first", True, 7)


def test_a_flip_or_a_cut_anywhere_before_the_tensors_is_read_or_refused(tmp_path, tokenizer) -> None:
    """To the vectors of a text, so that the settings, the words and the tensors have all been taken in."""
    save_model(tmp_path / "m", bert(num_hidden_layers=1), tokenizer)
    convert(tmp_path / "m", tmp_path / "good.gguf")
    printed = run_bounded(
        """
import tinylm

def read(file):
    assert tinylm.load(file).embed(["the cat sleeps"]).shape[1] < 1000

good = (folder / "good.gguf").read_bytes()
read(folder / "good.gguf")
limit_memory()
end = good.rindex(b"cls.weight") + 64
changed = cuts(good[:end], 13) + flips(good, range(0, end, 5), every=8)
print(refusals(folder / "bad.gguf", changed, read), len(changed))
""",
        tmp_path,
    )
    refused, changed = map(int, printed.split())
    assert changed / 4 < refused < changed
