"""The conversion of Keras' recurrent weights, as docs/recurrent.md shows it, gives what Keras gives."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from tinylm import Tensor
from tinylm.nn import GRU, LSTM, Initializer

pytestmark = pytest.mark.oracle

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "recurrent.md"


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """The functions of the page."""
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"np": np}
    functions = next(block for block in blocks if "def gru_from_keras" in block)
    exec(functions.partition("\n\n\nweights = ")[0], names)
    return names


CASES = {
    "lstm": (keras.layers.LSTM, LSTM, {}),
    "gru_reset_after": (keras.layers.GRU, GRU, {"reset_after": True}),
    "gru_reset_before": (keras.layers.GRU, GRU, {"reset_after": False}),
}


@pytest.mark.parametrize("kind", CASES)
def test_converted_weights_give_what_keras_gives(shown, kind: str) -> None:
    make_theirs, make_ours, settings = CASES[kind]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 3)).astype(np.float32)
    theirs = make_theirs(5, return_sequences=True, dtype="float32", **settings)
    theirs.build(x.shape)
    arrays = [rng.standard_normal(w.shape).astype(np.float32) for w in theirs.weights]
    theirs.set_weights(arrays)
    weights = shown[f"{kind.partition('_')[0]}_from_keras"](*arrays)
    ours = make_ours(3, 5, Initializer(None), **settings)
    ours.load_state_dict({f"directions.0.{name}": array for name, array in weights.items()})
    expected = theirs(x).detach().numpy()
    assert np.allclose(ours(Tensor(x))[0].data, expected, atol=1e-5)
