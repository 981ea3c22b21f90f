"""A Unigram in GGUF: written with its scores, table and special tokens, and read back as what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm.errors import FileFormatError
from tinylm.formats import convert, save_model
from tinylm.formats.gguf import read_gguf
from tinylm.models import Llama, LlamaConfig
from tinylm.nn import Initializer
from tinylm.text import PipelineTokenizer, from_gguf_fields, train_unigram
from tinylm.text.pipeline.compose import MARK, added_token, adding, compose

PIECES = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0, MARK: -2.0, f"{MARK}the": -2.5, "the": -4.0, f"{MARK}c": -4.5,
          "at": -3.25, "a": -5.0, "t": -5.5, "h": -6.0, "e": -5.75, "c": -6.5, "s": -5.25}  # fmt: skip
SPACES = {"type": "Sequence", "normalizers": [
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}  # fmt: skip


def words(*, prefix: str = "always", clean: bool = True, **model) -> PipelineTokenizer:
    """A tokenizer as T5's is."""
    at_spaces = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": prefix, "split": True}
    unigram = {"type": "Unigram", "unk_id": 2, "vocab": [list(p) for p in PIECES.items()], "byte_fallback": False}
    special = [added_token(id, token, special=True) for id, token in enumerate(("<pad>", "</s>", "<unk>"))]
    return PipelineTokenizer(
        compose(
            unigram | model,
            added_tokens=[*special, added_token(len(PIECES), "<extra_id_0>", special=True)],
            normalizer=SPACES if clean else None,
            pre_tokenizer=at_spaces,
            post_processor=adding([], [("</s>", 1)]),
            decoder=at_spaces,
        )
    )


def llama(folder: Path, tokenizer: PipelineTokenizer, size: int = 20) -> Path:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    save_model(folder, Llama(LlamaConfig(size, **sizes), Initializer(0)), tokenizer)
    return folder


@pytest.mark.parametrize("settings", [{}, {"prefix": "never"}, {"clean": False}])
def test_a_unigram_comes_back_from_gguf(tmp_path, settings) -> None:
    tokenizer = words(**settings)
    file = convert(llama(tmp_path / "m", tokenizer), tmp_path / "m.gguf")
    metadata, again = read_gguf(file).metadata, tinylm.load(file).tokenizer
    assert metadata["tokenizer.ggml.model"] == "t5"
    assert metadata["tokenizer.ggml.scores"][: len(PIECES)].tolist() == list(PIECES.values())
    assert again.to_json() == {
        **tokenizer.to_json(),
        "model": tokenizer.to_json()["model"] | {"vocab": [*map(list, PIECES.items()), ["<extra_id_0>", 0.0]]},
    }
    for text in ("the cat sat", "  the   cat ", "dog </s> the<extra_id_0>", "[PAD17] <unk>", ""):
        assert again.encode(text).tolist() == tokenizer.encode(text).tolist()
        assert again.inputs(text).ids.tolist() == tokenizer.inputs(text).ids.tolist()
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


@given(text=st.text(st.sampled_from("the cat sdx"), max_size=30))
def test_its_ids_are_those_of_the_original(text) -> None:
    assert FROM_GGUF.encode(text).tolist() == ORIGINAL.encode(text).tolist()


ORIGINAL = words()
FROM_GGUF = from_gguf_fields(
    {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": [*PIECES, "<extra_id_0>", "[PAD15]"],
        "tokenizer.ggml.scores": [*PIECES.values(), 0.0, 0.0],
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (len(PIECES) - 3) + [3, 5],
        "tokenizer.ggml.unknown_token_id": 2,
    }
)


def test_one_that_spells_rare_characters_in_bytes_is_kept_in_whole(tmp_path) -> None:
    tokenizer = train_unigram(["the cat sat on the mat " * 20], 290)
    file = convert(llama(tmp_path / "m", tokenizer, 300), tmp_path / "m.gguf")
    assert read_gguf(file).metadata["tokenizer.ggml.model"] == "none"
    assert tinylm.load(file).tokenizer.to_json() == tokenizer.to_json()


def test_scores_that_do_not_fit_the_tokens_are_refused() -> None:
    fields = {"tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": ["a", "b"]}
    for scores, reason in [([1.0], "scores has 1 entries for 2"), (["x", "y"], "list of float")]:
        with pytest.raises(FileFormatError, match=reason):
            from_gguf_fields({**fields, "tokenizer.ggml.scores": scores}).encode("a")
    assert np.array_equal(from_gguf_fields({**fields, "tokenizer.ggml.add_space_prefix": False}).encode("ab"), [0, 1])
