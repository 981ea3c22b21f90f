"""The Keras-shaped door against Keras 3: from the same weights on the same batches, the same numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

from oracle.keras_models import batch_logs, pair, take_weights

from tinylm import sequential

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]
keras = pytest.importorskip("keras")

# Models are float64, but Keras averages its metrics, normalises layers and attends in float32 whatever they are.
FLOAT32 = 3e-6

V, T, N = 30, 7, 48
rng = np.random.default_rng(1)
IDS = rng.integers(0, V, (N, T))
PADDED = IDS * (np.arange(T) >= rng.integers(0, T, (N, 1)))  # zeros at the front, as pad_sequences leaves them
NEXT = rng.integers(0, V, (N, T))
VECTORS = rng.normal(size=(N, T, 5))
YES_NO = rng.integers(0, 2, N)
KINDS = rng.integers(0, 4, N)
REAL = rng.normal(size=(N, 3))


@pytest.fixture(autouse=True)
def _doubles():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def last_word(*recurrent):
    """A classifier of sequences by the recurrent layers."""
    return lambda L: [
        L.Embedding(V, 6, mask_zero=True),
        *[make(L) for make in recurrent],
        L.Dense(4, activation="softmax"),
    ]


# name: (layers, inputs, targets, loss)
MODELS = {
    "the tutorial's": (
        lambda L: [L.Embedding(V, 8), L.LSTM(9, return_sequences=True), L.Dense(V, activation="softmax")],
        IDS,
        np.eye(V)[NEXT],
        "categorical_crossentropy",
    ),
    "the tutorial's with integers": (
        lambda L: [L.Embedding(V, 8), L.LSTM(9, return_sequences=True), L.Dense(V, activation="softmax")],
        IDS,
        NEXT,
        "sparse_categorical_crossentropy",
    ),
    "padding that does not count": (
        lambda L: [
            L.Embedding(V, 8, mask_zero=True),
            L.LSTM(9, return_sequences=True),
            L.Dense(V, activation="softmax"),
        ],
        PADDED,
        NEXT,
        "sparse_categorical_crossentropy",
    ),
    "one number, yes or no": (
        lambda L: [L.Embedding(V, 8, mask_zero=True), L.LSTM(9), L.Dense(1, activation="sigmoid")],
        PADDED,
        YES_NO,
        "binary_crossentropy",
    ),
    "gru": (
        last_word(lambda L: L.GRU(5, return_sequences=True), lambda L: L.GRU(6)),
        PADDED,
        KINDS,
        "sparse_categorical_crossentropy",
    ),
    "gru, reset before": (
        last_word(lambda L: L.GRU(6, reset_after=False)),
        PADDED,
        KINDS,
        "sparse_categorical_crossentropy",
    ),
    "without biases, backwards": (
        last_word(lambda L: L.LSTM(6, use_bias=False, go_backwards=True)),
        PADDED,
        KINDS,
        "sparse_categorical_crossentropy",
    ),
    **{
        f"bidirectional, {mode}": (
            last_word(
                lambda L, mode=mode: L.Bidirectional(L.LSTM(5, return_sequences=True), merge_mode=mode),
                lambda L, mode=mode: L.Bidirectional(L.GRU(4), merge_mode=mode),
            ),
            PADDED,
            KINDS,
            "sparse_categorical_crossentropy",
        )
        for mode in ("concat", "sum", "mul", "ave")
    },
    "norms and pools": (
        lambda L: [
            L.TimeDistributed(L.Dense(6, activation="tanh")),
            L.LayerNormalization(),
            L.GlobalAveragePooling1D(),
            L.Dense(8, activation="silu"),
            L.LayerNormalization(center=False, epsilon=1e-2),
            L.Dense(3),
        ],
        VECTORS,
        REAL,
        "mse",
    ),
    "the mean over the words": (
        lambda L: [
            L.Embedding(V, 8, mask_zero=True),
            L.GlobalAveragePooling1D(),
            L.Dense(8, activation="relu"),
            L.Dense(3),
        ],
        np.maximum(PADDED, np.eye(T, dtype=int)[-1]),
        REAL,
        "mae",
    ),
    "the largest": (
        lambda L: [L.Dense(6, activation="gelu"), L.GlobalMaxPooling1D(), L.Dense(4), L.Activation("softmax")],
        VECTORS,
        np.eye(4)[KINDS],
        "categorical_crossentropy",
    ),
}


def fit(module, model, x, y, **settings):
    """Train for 51 steps of 16 samples; the logs of every step."""
    watch = batch_logs(module)
    model.fit(x, y, epochs=17, batch_size=16, shuffle=False, verbose=0, callbacks=[watch], **settings)
    return watch.steps


def fit_both(theirs, ours, x, y, **settings):
    """The logs of both on the same batches."""
    return [fit(module, model, x, y, **settings) for module, model in ((keras, theirs), (sequential, ours))]


def assert_same_logs(theirs, ours, rtol):
    assert len(theirs) == len(ours) >= 50
    for step, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(b[name], a[name], rtol=rtol, atol=1e-9, err_msg=f"{name} at step {step}")


@pytest.mark.parametrize("name", MODELS)
def test_fifty_steps_give_the_losses_and_accuracies_of_keras(name):
    layers, x, y, loss = MODELS[name]
    theirs, ours = pair(layers, x.shape)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=FLOAT32, atol=FLOAT32)
    for model in (theirs, ours):
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"] if "cross" in loss else ["mse", "mae"])
    assert_same_logs(*fit_both(theirs, ours, x, y), rtol=FLOAT32)
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=FLOAT32, atol=FLOAT32)
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(theirs.evaluate(x, y, verbose=0), rel=FLOAT32)


def test_fifty_steps_in_float32_stay_close():
    layers, x, y, loss = MODELS["the tutorial's"]
    theirs, ours = pair(layers, x.shape, "float32")
    for model in (theirs, ours):
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    a, b = fit_both(theirs, ours, x, y)
    for mine, keras_own in zip(b, a, strict=True):
        assert mine["loss"] == pytest.approx(keras_own["loss"], rel=1e-4)


OPTIMIZERS = {
    "sgd": lambda m: m.optimizers.SGD(0.1),
    "momentum": lambda m: m.optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "rmsprop": lambda m: m.optimizers.RMSprop(0.01, rho=0.8, momentum=0.5, centered=True),
    "adagrad": lambda m: m.optimizers.Adagrad(0.05),
    "adam": lambda m: m.optimizers.Adam(0.01, beta_1=0.8, epsilon=1e-3, global_clipnorm=0.05),
    "adamw": lambda m: m.optimizers.AdamW(0.01),
    "lion": lambda m: m.optimizers.Lion(0.002, weight_decay=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_gives_the_curve_of_keras(name):
    layers, x, y, loss = MODELS["one number, yes or no"]
    theirs, ours = pair(layers, x.shape)
    for module, model in ((keras, theirs), (sequential, ours)):
        model.compile(optimizer=OPTIMIZERS[name](module), loss=loss)
    assert_same_logs(*fit_both(theirs, ours, x, y), rtol=FLOAT32)


def losses_of(module):
    L = module.losses
    return {
        "smoothed": (L.CategoricalCrossentropy(label_smoothing=0.1), np.eye(4)[KINDS]),
        "of distributions": (L.CategoricalCrossentropy(), rng_rows(4)),
        "from logits": (L.SparseCategoricalCrossentropy(from_logits=True), KINDS),
        "a class that does not count": (L.SparseCategoricalCrossentropy(ignore_class=2), KINDS),
        "binary, smoothed": (L.BinaryCrossentropy(label_smoothing=0.2), np.eye(4)[KINDS]),
        "binary from logits": (L.BinaryCrossentropy(from_logits=True), np.eye(4)[KINDS]),
    }


def rng_rows(classes):
    rows = np.random.default_rng(2).random((N, classes))
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
@pytest.mark.parametrize("name", losses_of(sequential))
def test_every_loss_is_that_of_keras_whether_fused_or_not(name, activation):
    if ("logits" in name) != (activation is None) or ("binary" in name and activation == "softmax"):
        activation = None if "logits" in name else "sigmoid"
    theirs, ours = pair(lambda L: [L.LSTM(6), L.Dense(4, activation=activation)], VECTORS.shape)
    weights = np.random.default_rng(3).random(N)
    for module, model in ((keras, theirs), (sequential, ours)):
        loss, y = losses_of(module)[name]
        model.compile(optimizer="sgd", loss=loss)
    assert_same_logs(*fit_both(theirs, ours, VECTORS, y, sample_weight=weights), rtol=FLOAT32)


@pytest.mark.parametrize("weights", ["samples", "steps", "classes"])
def test_weights_and_masks_together_give_the_loss_of_keras(weights):
    layers, x, y, loss = MODELS["padding that does not count"]
    theirs, ours = pair(layers, x.shape)
    random = np.random.default_rng(4)
    rows = random.random(N)
    settings = {
        "samples": {"sample_weight": rows},
        "steps": {"sample_weight": random.random((N, T))},
        "classes": {"class_weight": {k: 1 + k / V for k in range(V)}},
    }[weights]
    if weights == "classes":
        layers, x, y, loss = MODELS["gru"]
        theirs, ours = pair(layers, x.shape)
    for model in (theirs, ours):
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    theirs_settings = settings
    if weights == "samples":  # beside a mask, Keras takes weights of steps alone
        theirs_settings = {"sample_weight": np.repeat(rows[:, None], T, axis=1)}
    both = [
        fit(m, model, x, y, **s) for m, model, s in ((keras, theirs, theirs_settings), (sequential, ours, settings))
    ]
    assert_same_logs(*both, rtol=FLOAT32)


def test_history_and_validation_are_those_of_keras():
    layers, x, y, loss = MODELS["padding that does not count"]
    theirs, ours = pair(layers, x.shape)
    histories = []
    for model in (theirs, ours):
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        histories.append(model.fit(x, y, epochs=3, batch_size=16, validation_split=0.25, shuffle=False, verbose=0))
    a, b = histories
    assert a.epoch == b.epoch
    assert set(a.history) == set(b.history)
    for name in a.history:
        np.testing.assert_allclose(b.history[name], a.history[name], rtol=FLOAT32)


def test_early_stopping_ends_in_the_same_epoch_with_the_same_weights():
    layers, x, y, loss = MODELS["one number, yes or no"]
    theirs, ours = pair(layers, x.shape)
    ends = []
    for module, model in ((keras, theirs), (sequential, ours)):
        model.compile(optimizer=module.optimizers.Adam(0.05), loss=loss)
        stop = module.callbacks.EarlyStopping(patience=2, restore_best_weights=True, min_delta=1e-3)
        model.fit(x, y, epochs=40, batch_size=16, validation_split=0.25, shuffle=False, verbose=0, callbacks=[stop])
        ends.append((stop.stopped_epoch, stop.best_epoch))
    assert ends[0] == ends[1]
    assert 0 < ends[0][0] < 39
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


def test_a_stateful_layer_carries_its_state_as_in_keras():
    theirs = keras.Sequential(
        [keras.Input((T, 5), batch_size=16), keras.layers.LSTM(6, stateful=True), keras.layers.Dense(2)]
    )
    ours = sequential.Sequential([sequential.layers.LSTM(6, stateful=True), sequential.layers.Dense(2)])
    ours.build((16, T, 5))
    take_weights(theirs, ours)
    for _ in range(2):
        np.testing.assert_allclose(
            ours.predict(VECTORS, batch_size=16), theirs.predict(VECTORS, batch_size=16, verbose=0), rtol=1e-6
        )
    theirs.layers[0].reset_state()
    ours.get_layer(index=0).reset_state()
    np.testing.assert_allclose(ours.predict(VECTORS, 16), theirs.predict(VECTORS, 16, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"value_dim": 3}, {"use_bias": False}])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_a_sequence_to_itself_is_that_of_keras(settings, causal):
    inputs = keras.Input((T, 5))
    layer = keras.layers.MultiHeadAttention(2, 4, **settings)
    theirs = keras.Model(inputs, layer(inputs, inputs, use_causal_mask=causal))
    ours = sequential.Sequential([sequential.layers.MultiHeadAttention(2, 4, use_causal_mask=causal, **settings)])
    ours.build((None, T, 5))
    take_weights(theirs, ours)
    np.testing.assert_allclose(ours.predict(VECTORS), theirs.predict(VECTORS, verbose=0), rtol=FLOAT32, atol=FLOAT32)


def test_first_weights_have_the_distribution_of_keras():
    keras.utils.set_random_seed(0)
    layers = {
        "dense": lambda L: L.Dense(300),
        "embedding": lambda L: L.Embedding(300, 64),
        "lstm": lambda L: L.LSTM(64),
        "gru": lambda L: L.GRU(64),
        "normal": lambda L: L.Dense(300, kernel_initializer="he_normal"),
    }
    for name, make in layers.items():
        shape = (1, 3) if name == "embedding" else (1, 3, 200)
        theirs = make(keras.layers)
        theirs.build(shape)
        ours = make(sequential.layers).build(shape[-1])
        for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            assert a.shape == b.shape
            assert np.std(b) == pytest.approx(np.std(a), rel=0.05), name
            assert np.max(np.abs(b)) == pytest.approx(np.max(np.abs(a)), rel=0.25), name
            assert np.mean(b) == pytest.approx(np.mean(a), abs=0.01), name


def test_pad_sequences_and_to_categorical_are_those_of_keras():
    rows = [[1, 2, 3], [], [4], [5, 6, 7, 8, 9]]
    for settings in ({}, {"maxlen": 3}, {"maxlen": 3, "padding": "post", "truncating": "post", "value": -1}):
        a, b = (u.pad_sequences(rows, **settings) for u in (keras.utils, sequential.utils))
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    for x in ([0, 2, 1], [[0], [3]], [[1, 2], [0, 3]]):
        np.testing.assert_array_equal(sequential.utils.to_categorical(x), keras.utils.to_categorical(x))
