"""tinylm quantize: fewer bits, and what they cost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tinylm import load
from tinylm.cli import main
from tinylm.errors import TinylmError
from tinylm.formats import open_model, save_model
from tinylm.inference import log_probabilities, mean_loss
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


@pytest.mark.parametrize("to", ["q8_0", "q4_k"])
def test_the_loss_on_a_text_is_printed_before_and_after(folder, tmp_path, capsys, to) -> None:
    (tmp_path / "text").write_text(TEXT)
    out = tmp_path / "out.gguf"
    assert main(["quantize", str(folder), str(out), "--to", to, "--data", str(tmp_path / "text")]) == 0
    printed = capsys.readouterr().out
    before, after = map(float, re.search(r"([\d.]+) before, ([\d.]+) after", printed).groups())
    assert before == pytest.approx(mean_loss(load(folder).decoder, list(TEXT.encode())), abs=1e-3)
    assert after == pytest.approx(before, rel=0.02)
    stored = open_model(out).tensors.stored
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
