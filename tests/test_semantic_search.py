"""The example of a search runs, with an encoder and a few functions of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tinylm.formats import Pooling, save_model
from tinylm.models import Bert, BertConfig
from tinylm.nn import Initializer
from tinylm.text import train_wordpiece

EXAMPLE = Path(__file__).parent.parent / "examples" / "semantic_search.py"
FUNCTION = 'def make_{n}(x):\n    """Return the number {n} and x."""\n    return {n} + x\n\n\n'


@pytest.mark.slow
def test_a_search_finds_functions_before_and_after_it_has_learnt(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    source = "".join(FUNCTION.format(n=n) for n in range(40))
    (tmp_path / "code" / "a.py").write_text(source)
    tokenizer = train_wordpiece([source], 200)
    config = BertConfig(tokenizer.vocab_size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    save_model(tmp_path / "encoder", Bert(config, Initializer(0)), tokenizer, pooling=Pooling("mean", True, 64))
    places = ["--data", tmp_path / "code", "--model", tmp_path / "encoder", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, "Return the number 3 and x", *places, "--steps", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert [line[:7] for line in told if "recall@1 " in line and "mrr" in line] == ["TF-IDF ", "before ", "after  "]
    assert all("def make_" in line for line in told[-3:])
