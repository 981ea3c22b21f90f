"""Files of Keras' both ways: Keras 3 saves and tinylm predicts, tinylm saves and Keras 3 predicts, the same numbers."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tinylm import sequential

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")]

IDS = np.random.default_rng(1).integers(0, 11, (6, 7))
IDS[2:4, 4:] = 0  # padding

MODELS = {
    "lstm": lambda L: [L.Embedding(11, 4), L.LSTM(6), L.Dense(3, activation="softmax")],
    "masks, both ways": lambda L: [
        L.Embedding(11, 4, mask_zero=True),
        L.Bidirectional(L.LSTM(3, return_sequences=True)),
        L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum"),
        L.Dense(4),
    ],
    "gru, reset before and after": lambda L: [
        L.Embedding(11, 4),
        L.GRU(5, return_sequences=True, dropout=0.2),
        L.GRU(4, return_sequences=True, reset_after=False, name="mine"),
        L.GRU(4, use_bias=False, go_backwards=True),
    ],
    "all others": lambda L: [
        L.Embedding(11, 6, name="words"),
        L.LSTM(5, return_sequences=True, use_bias=False),
        L.LayerNormalization(epsilon=1e-5),
        L.TimeDistributed(L.Dense(4, activation="gelu")),
        L.Activation("tanh"),
        L.Dropout(0.3),
        L.LSTM(4, return_sequences=True),
        L.GlobalMaxPooling1D(),
        L.Dense(2, activation="sigmoid", use_bias=False),
    ],
    "an average": lambda L: [L.Embedding(11, 4), L.GlobalAveragePooling1D(), L.LayerNormalization(scale=False)],
}


@pytest.fixture(params=MODELS)
def theirs(request):
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")  # which Keras keeps from the first layer that was made
    model = keras.Sequential([keras.Input((7,)), *MODELS[request.param](keras.layers)])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.6, w.shape) for w in model.get_weights()])
    model.layers_of = MODELS[request.param]
    return model


def assert_same(ours, theirs) -> None:
    received, expected = ours.predict(IDS), theirs.predict(IDS, verbose=0)
    assert expected.std() > 0.05
    assert np.abs(received - expected).max() < 2e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_models_go_over_in_both_directions(theirs, tmp_path, name) -> None:
    theirs.save(tmp_path / name)
    ours = sequential.load_model(tmp_path / name)
    assert ours.layer_names() == [layer.name for layer in theirs.layers]
    assert_same(ours, theirs)
    (tmp_path / "back").mkdir()
    ours.save(tmp_path / "back" / name)
    again = keras.models.load_model(tmp_path / "back" / name)
    assert_same(ours, again)
    for a, b in zip(again.get_weights(), theirs.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("name", ["m.weights.h5", "m.h5"])
def test_weights_alone_go_over_in_both_directions(theirs, tmp_path, name) -> None:
    ours = sequential.Sequential([sequential.Input((7,)), *theirs.layers_of(sequential.layers)])
    theirs.save(tmp_path / "whole.h5")
    if name == "m.weights.h5":
        theirs.save_weights(tmp_path / name)
        ours.load_weights(tmp_path / name)
    else:  # Keras 3 reads Keras 2's weights, and writes them with the model around
        ours.load_weights(tmp_path / "whole.h5")
    assert_same(ours, theirs)
    before = theirs.get_weights()
    ours.save_weights(tmp_path / f"ours.{name}")
    theirs.set_weights([np.zeros_like(w) for w in before])
    theirs.load_weights(tmp_path / f"ours.{name}")
    for a, b in zip(before, theirs.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_a_model_that_keras_has_trained_is_trained_on_here(tmp_path) -> None:
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")  # which Keras keeps from the first layer that was made
    theirs = keras.Sequential([keras.Input((7,)), *MODELS["lstm"](keras.layers)])
    theirs.compile("adam", "sparse_categorical_crossentropy")
    kinds = IDS[:, 0] % 3
    theirs.fit(IDS, kinds, epochs=2, verbose=0)
    for name in ("m.keras", "m.h5"):  # which hold the optimizer's state as well
        theirs.save(tmp_path / name)
        ours = sequential.load_model(tmp_path / name)
        assert_trained(ours, theirs, kinds)


def assert_trained(ours, theirs, kinds) -> None:
    ours.compile("adam", "sparse_categorical_crossentropy")
    first = ours.evaluate(IDS, kinds, verbose=0)
    assert first == pytest.approx(theirs.evaluate(IDS, kinds, verbose=0), rel=1e-5)
    ours.fit(IDS, kinds, epochs=20, verbose=0)
    assert ours.evaluate(IDS, kinds, verbose=0) < first
