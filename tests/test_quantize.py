"""tinylm quantize: fewer bits, and what they cost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tinylm import load
from tinylm.autograd import no_grad
from tinylm.cli import main
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import convert, open_model, save_model
from tinylm.formats.gguf import read_gguf, write_gguf
from tinylm.inference import log_probabilities, mean_loss, open_engine
from tinylm.models import FAMILIES
from tinylm.nn import Initializer
from tinylm.text import ByteTokenizer

SETTINGS = {"vocab_size": 256, "hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4,
            "intermediate_size": 320, "max_position_embeddings": 64}  # fmt: skip
TEXT = "the cat sat on the mat, and the rat sat on the cat. " * 4


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "m", FAMILIES["llama"].from_settings(SETTINGS, Initializer(0)), ByteTokenizer())
    return tmp_path / "m"


@pytest.mark.parametrize("to", ["q8_0", "q4_k", "int8"])
def test_the_loss_on_a_text_is_printed_before_and_after(folder, tmp_path, capsys, to) -> None:
    (tmp_path / "text").write_text(TEXT)
    out = tmp_path / "out.gguf"
    assert main(["quantize", str(folder), str(out), "--to", to, "--data", str(tmp_path / "text")]) == 0
    printed = capsys.readouterr().out
    before, after = map(float, re.search(r"([\d.]+) before, ([\d.]+) after", printed).groups())
    assert before == pytest.approx(mean_loss(load(folder).decoder, list(TEXT.encode())), abs=1e-3)
    assert after == pytest.approx(before, rel=0.02)
    stored = open_model(out).tensors.stored
    to = "int8_rows" if to == "int8" else to
    assert stored("model.layers.0.self_attn.q_proj.weight").dtype == to
    # 320 numbers divide into no blocks of 256.
    assert stored("model.layers.0.mlp.down_proj.weight").dtype == ("q5_0" if to == "q4_k" else to)
    assert stored("model.embed_tokens.weight").dtype == "q8_0"


def test_the_mean_loss_is_that_of_windows_that_do_not_see_each_other(folder) -> None:
    decoder, ids = load(folder).decoder, np.frombuffer(TEXT[:100].encode(), np.uint8)
    scores = np.concatenate([log_probabilities(decoder, part) for part in (ids[:40], ids[40:80], ids[80:])])
    assert mean_loss(decoder, ids, window=40) == pytest.approx(-scores.mean())
    with pytest.raises(TinylmError, match="received 1"):
        mean_loss(decoder, ids[:1])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bytes_with_a_scale_for_each_row_come_back_as_the_engine_multiplies_them(tmp_path, family) -> None:
    settings = {"vocab_size": 256, "n_positions": 64, "n_embd": 48, "n_layer": 1, "n_head": 4}
    settings = SETTINGS if family == "llama" else settings
    model = FAMILIES[family].from_settings(settings, Initializer(0))
    save_model(tmp_path / "m", model, ByteTokenizer())
    source = open_model(convert(tmp_path / "m", tmp_path / "m.gguf", dtype="int8"))
    whole, ids = source.build(), np.frombuffer(TEXT[:30].encode(), np.uint8)[None].astype(np.int64)
    read = dict(whole.named_parameters())
    for name, parameter in model.named_parameters():
        step = np.abs(parameter.data).max(axis=-1, keepdims=True) / 127
        assert (np.abs(read[name].data - parameter.data) <= 0.6 * step + 1e-7).all()
    engine = open_engine(source)
    with no_grad():
        expected = whole(ids).data[0, -1]
    assert np.abs(engine.last_logits(ids)[0, 0] - expected).max() < 0.05 * expected.std()


def test_scales_that_do_not_fit_are_refused(folder, tmp_path) -> None:
    file = convert(folder, tmp_path / "m.gguf", dtype="int8")
    opened = read_gguf(file)
    tensors = dict(opened.tensors)
    tensors["blk.0.attn_q.scale"] = tensors["blk.0.attn_q.scale"][:-1]
    write_gguf(file, opened.metadata, tensors)
    with pytest.raises(FileFormatError, match=r"attn_q.weight' of int8 \(256, 256\) has scales of float32 \(255,\)"):
        open_model(file)
