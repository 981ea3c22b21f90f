"""The Keras-shaped door: what a script meets, and what it is told when something does not fit."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinylm
from tinylm import Sequential, sequential
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats import read_metadata, read_safetensors, write_safetensors
from tinylm.nn import Module
from tinylm.sequential import callbacks, initializers, layers, losses, optimizers
from tinylm.training import NonFiniteError

V, T, N = 12, 5, 40
rng = np.random.default_rng(0)
IDS = rng.integers(1, V, (N, T))
KINDS = IDS[:, -1] % 3


def word_model(**compiled):
    model = Sequential([layers.Embedding(V, 6), layers.LSTM(8), layers.Dense(3, activation="softmax")])
    settings = {"optimizer": optimizers.Adam(0.02), "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**(settings | compiled))
    return model


def fitted(**settings):
    model = word_model()
    return model, model.fit(IDS, KINDS, verbose=0, **({"epochs": 2, "batch_size": 16} | settings))


TUTORIAL = """
import numpy as np
from tinylm import Sequential, Embedding, LSTM, Dense

rng = np.random.default_rng(0)
ids = rng.integers(0, 50, (130, 9))
x, y = ids[:, :-1], np.eye(10000, dtype="float32")[ids[:, 1:]]
model = Sequential([
    Embedding(10000, 64),
    LSTM(64, return_sequences=True),
    Dense(10000, activation='softmax'),
])
model.compile(optimizer='adam', loss='categorical_crossentropy', metrics=['accuracy'])
model.fit(x, y, epochs=10, batch_size=64)
model.summary()
"""


def test_the_tutorial_runs_with_its_imports_changed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TUTORIAL],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Epoch 1/10"
    assert lines[1].startswith("3/3 ")
    first, last = (float(line.rpartition("loss: ")[2].split()[0]) for line in (lines[1], lines[19]))
    assert last < first == pytest.approx(np.log(10000), rel=0.01)
    assert "Total params: 1,323,024" in done.stdout  # Keras' count: 640,000 + 33,024 + 650,000


def test_a_model_learns_and_says_how_it_went():
    model, history = fitted(epochs=30)
    assert history.epoch == list(range(30))
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]
    loss, accuracy = model.evaluate(IDS, KINDS, verbose=0)
    assert accuracy == 1.0
    assert model.evaluate(IDS, KINDS, verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    p = model.predict(IDS)
    assert (p.argmax(-1) == KINDS).all()
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    a, b = (fitted()[0].get_weights() for _ in range(2))
    assert all((x == y).all() for x, y in zip(a, b, strict=True))
    other = Sequential([layers.Dense(3)], seed=1)
    other.build((None, 4))
    same = Sequential([layers.Dense(3)], seed=2)
    same.build((None, 4))
    assert (other.get_weights()[0] != same.get_weights()[0]).any()


def test_integers_and_one_hot_targets_train_alike():
    weights = []
    for loss, y in (("sparse_categorical_crossentropy", KINDS), ("categorical_crossentropy", np.eye(3)[KINDS])):
        model = word_model(loss=loss)
        model.fit(IDS, y, epochs=2, verbose=0)
        weights.append(model.get_weights())
    assert all((x == y).all() for x, y in zip(*weights, strict=True))


def test_dropout_acts_in_training_alone_and_repeats_with_the_seed():
    model = Sequential([layers.Dropout(0.5)])
    x = np.ones((4, 6), np.float32)
    np.testing.assert_array_equal(model.predict(x), x)
    once, again = (model(x, training=True).data for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert set(np.unique(once)) == {0.0, 2.0}
    assert layers.LSTM(3, dropout=0.5).build(4)(sequential_tensor()).shape == (2, 3)


def sequential_tensor():
    return tinylm.Tensor(np.ones((2, 5, 4), np.float32))


def test_dropout_of_a_recurrent_layer_hides_the_same_inputs_at_all_steps():
    model = Sequential([layers.LSTM(64, dropout=0.5, return_sequences=True)])
    x = np.zeros((3, T, 4), np.float32)
    x[:, :, 0] = 1  # hidden or not: at all steps of a row or at none
    y = model(x, training=True).data
    plain, silent = model.predict(x), model.predict(0 * x)
    for row in range(3):
        hidden = np.allclose(y[row], silent[row])
        assert hidden != (abs(y[row, 0] - silent[row, 0]).max() > 1e-3)
        assert hidden or not np.allclose(y[row], plain[row])  # kept inputs are doubled


@given(st.lists(st.lists(st.booleans(), min_size=T, max_size=T), min_size=1, max_size=4))
def test_masked_steps_change_nothing_wherever_they_are(rows):
    mask = np.array(rows)
    ids = np.where(mask, IDS[: len(mask)], 0)
    model = Sequential(
        [layers.Embedding(V, 3, mask_zero=True), layers.Bidirectional(layers.LSTM(4, return_sequences=True))]
    )
    model.build((None, T))
    y = model.predict(ids)
    for row in range(len(mask)):
        if mask[row].any():
            alone = model.predict(ids[row : row + 1, mask[row]])
            np.testing.assert_allclose(y[row, mask[row]], alone[0], rtol=1e-5, atol=1e-6)


def test_layers_are_frozen_descriptions_that_build_modules():
    description = layers.LSTM(8, return_sequences=True)
    with pytest.raises(AttributeError):
        description.units = 9
    assert description == layers.LSTM(8, return_sequences=True)
    module = description.build(4)
    assert isinstance(module, Module)
    kernel, recurrent, bias = module.get_weights()
    assert (kernel.shape, recurrent.shape, bias.shape) == ((4, 32), (8, 32), (32,))
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(8), atol=1e-6)
    np.testing.assert_array_equal(bias, np.repeat([0, 1, 0, 0], 8))  # i, f, c, o


def test_frozen_layers_keep_their_weights():
    model = Sequential([layers.Embedding(V, 6, trainable=False), layers.LSTM(4), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.build((None, T))
    before = model.get_weights()
    model.fit(IDS, KINDS, verbose=0)
    after = model.get_weights()
    assert (before[0] == after[0]).all()
    assert all((a != b).any() for a, b in zip(before[1:], after[1:], strict=True))


# Files


def test_a_saved_model_predicts_the_same_and_trains_on_to_the_same_bits(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "model.safetensors")
    again = sequential.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(model.predict(IDS), again.predict(IDS))
    for m in (model, again):
        m.fit(IDS, KINDS, epochs=4, initial_epoch=2, batch_size=16, verbose=0)
    assert all((a == b).all() for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    assert again.layers == model.layers


def test_a_file_holds_keras_names_and_layout(tmp_path):
    model, _ = fitted()
    model.save(tmp_path / "m.safetensors", include_optimizer=False)
    tensors = read_safetensors(tmp_path / "m.safetensors")
    assert set(tensors) == {
        "layers.0.embeddings", "layers.1.kernel", "layers.1.recurrent_kernel", "layers.1.bias",
        "layers.2.kernel", "layers.2.bias",
    }  # fmt: skip
    assert tensors["layers.2.kernel"].shape == (8, 3)
    config = json.loads(read_metadata(tmp_path / "m.safetensors")["config"])
    assert config["layers"][1]["class"] == "LSTM"
    assert config["compile"]["optimizer"]["learning_rate"] == 0.02


def test_every_layer_and_setting_survives_a_file(tmp_path):
    model = Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(V, 8, mask_zero=True, name="words"),
            layers.Bidirectional(layers.GRU(4, return_sequences=True, reset_after=False), merge_mode="sum"),
            layers.MultiHeadAttention(2, 3, use_causal_mask=True),
            layers.LayerNormalization(epsilon=1e-5),
            layers.Dropout(0.1),
            layers.TimeDistributed(layers.Dense(5, activation="relu")),
            layers.GlobalAveragePooling1D(),
            layers.Activation("softmax"),
        ],
        "all-of-them",
        seed=3,
    )
    model.compile(optimizers.SGD(0.1, momentum=0.5), losses.SparseCategoricalCrossentropy(ignore_class=1), ["accuracy"])
    model.fit(IDS, KINDS, verbose=0)
    model.save(tmp_path / "m.safetensors")
    again = sequential.load_model(tmp_path / "m.safetensors")
    assert (again.name, again.seed, again.layers, again.input) == (model.name, 3, model.layers, model.input)
    assert again.compile_settings == model.compile_settings
    np.testing.assert_array_equal(model.predict(IDS), again.predict(IDS))


def test_python_functions_do_not_go_into_a_file(tmp_path):
    model = word_model(loss=lambda y, output: ((output - np.eye(3)[y].astype(np.float32)) ** 2.0).sum(axis=-1))
    model.fit(IDS, KINDS, verbose=0)
    with pytest.warns(UserWarning, match="cannot hold Python functions"):
        model.save(tmp_path / "m.safetensors")
    again = sequential.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(model.predict(IDS), again.predict(IDS))
    with pytest.raises(TinylmError, match="compile"):
        again.fit(IDS, KINDS)


def broken_files():
    def config(change):
        def broken(notes, tensors):
            value = json.loads(notes["config"])
            change(value)
            notes["config"] = json.dumps(value)

        return broken

    return {
        "another format": lambda notes, tensors: notes.update(format="other"),
        "a later version": lambda notes, tensors: notes.update(version="2"),
        "no config": lambda notes, tensors: notes.pop("config"),
        "no layers": config(lambda c: c.pop("layers")),
        "an unknown layer": config(lambda c: c["layers"][0].update({"class": "Conv2D"})),
        "an unknown argument": config(lambda c: c["layers"][0].update(strides=2)),
        "a wrong type": config(lambda c: c["layers"][1].update(units="8")),
        "a wrong size": config(lambda c: c["layers"][1].update(units=9)),
        "a layer that is a list": config(lambda c: c.update(layers=[[]])),
        "a missing weight": lambda notes, tensors: tensors.pop("layers.1.bias"),
        "a weight too many": lambda notes, tensors: tensors.update({"layers.7.bias": np.ones(3)}),
        "a tensor of nothing": lambda notes, tensors: tensors.update({"else": np.ones(3)}),
        "an optimizer's state that does not fit": lambda notes, tensors: tensors.pop("optimizer.0.first_moment"),
    }


@pytest.mark.parametrize("fault", broken_files())
def test_a_broken_file_is_an_error_that_names_it(tmp_path, fault):
    path = tmp_path / "m.safetensors"
    fitted()[0].save(path)
    notes, tensors = read_metadata(path), dict(read_safetensors(path))
    broken_files()[fault](notes, tensors)
    write_safetensors(tmp_path / "broken.safetensors", tensors, notes)
    with pytest.raises(FileFormatError, match=r"broken\.safetensors"):
        sequential.load_model(tmp_path / "broken.safetensors")


# Callbacks


def test_callbacks_are_called_as_in_keras():
    events = []

    class Watch(callbacks.Callback):
        def on_train_begin(self, logs):
            events.append(("begin", self.params["epochs"], self.params["steps"], self.model.built))

        def on_epoch_begin(self, epoch, logs):
            events.append(("epoch", epoch))

        def on_train_batch_end(self, batch, logs):
            events.append(("batch", batch, sorted(logs)))

        def on_epoch_end(self, epoch, logs):
            events.append(("end of epoch", epoch, sorted(logs)))

        def on_train_end(self, logs):
            events.append(("end",))

    fitted(epochs=2, batch_size=32, validation_data=(IDS, KINDS), callbacks=[Watch()])
    both = ["accuracy", "loss"]
    epoch = [("batch", 0, both), ("batch", 1, both)]
    everything = [*both, "val_accuracy", "val_loss"]
    assert events == [
        ("begin", 2, 2, True),
        ("epoch", 0), *epoch, ("end of epoch", 0, everything),
        ("epoch", 1), *epoch, ("end of epoch", 1, everything),
        ("end",),
    ]  # fmt: skip


def test_checkpoints_keep_the_best_epochs(tmp_path):
    keep = callbacks.ModelCheckpoint(tmp_path / "m-{epoch:02d}.safetensors", "val_loss", save_best_only=True)
    _, history = fitted(epochs=6, validation_split=0.25, callbacks=[keep])
    losses_seen = history.history["val_loss"]
    best_so_far = [e + 1 for e in range(6) if losses_seen[e] == min(losses_seen[: e + 1])]
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"m-{e:02d}.safetensors" for e in best_so_far]
    again = sequential.load_model(tmp_path / f"m-{best_so_far[-1]:02d}.safetensors")
    loss, _ = again.evaluate(IDS[30:], KINDS[30:], verbose=0)
    assert loss == pytest.approx(min(losses_seen), rel=1e-5)


def test_a_scheduler_sets_the_rate_of_each_epoch():
    model = word_model()
    rates = []

    class Watch(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            rates.append(self.model.learning_rate)

    halve = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    model.fit(IDS, KINDS, epochs=3, verbose=0, callbacks=[halve, Watch()])
    assert rates == [0.01, 0.005, 0.0025]


# What does not fit


def compiled_with(x=IDS, y=KINDS, **settings):
    return lambda: word_model().fit(x, y, verbose=0, **settings)


MISTAKES = {
    "fit before compile": (lambda: Sequential([layers.Dense(3)]).fit(IDS, KINDS), "call compile"),
    "no loss": (lambda: word_model(loss=None).fit(IDS, KINDS), "no loss"),
    "no targets": (lambda: word_model().fit(IDS), "targets y"),
    "no layers": (lambda: Sequential().predict(IDS), "no layers"),
    "an unknown optimizer": (lambda: word_model(optimizer="adm"), "did you mean 'adam'"),
    "an unknown loss": (lambda: word_model(loss="cross"), "cannot interpret loss"),
    "an unknown metric": (lambda: word_model(metrics=["f2"]).fit(IDS, KINDS), "cannot interpret metric 'f2'"),
    "other lengths": (compiled_with(y=KINDS[:-1]), "'x' sizes: 40, 'y' sizes: 39"),
    "nothing to predict": (lambda: Sequential([layers.Dense(3)]).predict(np.ones((0, 2))), "no samples"),
    "channels of no size": (lambda: Sequential([layers.Input((None,)), layers.Dense(3)]).build(), "must have a size"),
    "no samples": (compiled_with(x=IDS[:0], y=KINDS[:0]), "holds no samples"),
    "rows of other lengths": (compiled_with(x=[[1, 2], [3]], y=[0, 1]), "pad_sequences"),
    "texts": (compiled_with(x=["a", "b"], y=[0, 1]), "array of numbers"),
    "a single number": (compiled_with(x=3), "single number"),
    "ids too large": (compiled_with(x=IDS + V), r"ids must lie in 0\.\.11"),
    "half an id": (compiled_with(x=IDS + 0.5), "whole numbers"),
    "a class too large": (compiled_with(y=KINDS + 1), r"must lie in 0\.\.2"),
    "half a class": (compiled_with(y=KINDS + 0.5), "whole numbers"),
    "targets of another shape": (compiled_with(y=np.ones((N, T), int)), "do not fit outputs of shape"),
    "integers for one-hot": (
        lambda: word_model(loss="categorical_crossentropy").fit(IDS, KINDS),
        "sparse_categorical_crossentropy",
    ),
    "inputs of another length": (
        lambda: Sequential([layers.Input((7,)), layers.Embedding(V, 2)]).predict(IDS),
        r"expects inputs of shape \(None, 7\)",
    ),
    "too few axes": (lambda: Sequential([layers.LSTM(3)]).predict(np.ones((4, 5))), "expected ndim=3, found ndim=2"),
    "no units": (lambda: layers.Dense(0), "positive integer"),
    "half a unit": (lambda: layers.LSTM(2.5), "positive integer"),
    "an unknown activation": (lambda: layers.Dense(3, activation="foo"), "activation is 'foo'"),
    "another activation of the LSTM": (lambda: layers.LSTM(3, activation="relu"), "the choices are tanh"),
    "an unknown initializer": (lambda: layers.Dense(3, kernel_initializer="foo"), "kernel_initializer is 'foo'"),
    "a rate of 1": (lambda: layers.Dropout(1.0), "0 <= rate < 1"),
    "dropout inside attention": (lambda: layers.MultiHeadAttention(2, 4, dropout=0.1), "only 0 is supported"),
    "a dense layer in both directions": (lambda: layers.Bidirectional(layers.Dense(3)), "recurrent layer"),
    "two ways forward": (
        lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3)),
        "go_backwards=True",
    ),
    "no layer": (lambda: Sequential([3]), "expected a layer"),
    "a layer too late": (lambda: fitted()[0].add(layers.Dense(3)), "before its first use"),
    "an input in the middle": (lambda: Sequential([layers.Dense(3), layers.Input((2,))]), "stands first"),
    "a layer that is not there": (lambda: fitted()[0].get_layer("dense_7"), "there are .*'lstm'"),
    "too few weights": (lambda: fitted()[0].set_weights([np.ones(3)]), "received 1 arrays, expected 6"),
    "weights of another shape": (lambda: fitted()[0].get_layer(index=-1).set_weights([np.ones(3)] * 2), "expected"),
    "a split of everything": (compiled_with(validation_split=1.5), "0 <= share < 1"),
    "a split with nothing left": (compiled_with(validation_split=0.99), "do not suffice"),
    "half of the validation data": (compiled_with(validation_data=(IDS,)), r"\(x, y\)"),
    "an empty batch": (compiled_with(batch_size=0), "at least 1"),
    "classes of what has none": (
        lambda: word_model(loss="mse").fit(IDS, rng.random((N, 3)), class_weight={0: 1.0}),
        "class_weight needs",
    ),
    "a rate of 0": (lambda: optimizers.Adam(0), "learning_rate is 0"),
    "a share above 1": (lambda: word_model(optimizer=optimizers.Adam(beta_1=2)).fit(IDS, KINDS), "beta1"),
    "nothing to monitor": (compiled_with(callbacks=[callbacks.EarlyStopping()]), "give validation_data"),
    "up or down": (lambda: callbacks.EarlyStopping("val_f1"), "mode='min' or mode='max'"),
    "a file name of nothing": (compiled_with(callbacks=[callbacks.ModelCheckpoint("{foo}")]), "asks for 'foo'"),
    "no such initializer": (lambda: initializers.check_initializer("X", "y", "z"), "the choices are"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name):
    call, words = MISTAKES[name]
    with pytest.raises(TinylmError, match=words) as told:
        call()
    assert "\n" not in str(told.value)


def test_what_is_not_finite_stops_before_the_weights_are_touched():
    model = Sequential([layers.Dense(2)])
    model.compile("sgd", "mse")
    x = np.ones((8, 3), np.float32)
    model.build(x.shape)
    before = model.get_weights()
    with pytest.raises(NonFiniteError, match="step 1"):
        model.fit(x, np.full((8, 2), np.nan), verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_stateful_layer_wants_batches_of_one_size():
    model = Sequential([layers.LSTM(3, stateful=True)])
    model.predict(np.ones((4, T, 2), np.float32))
    with pytest.raises(TinylmError, match="the last one had 4 rows, this one 3"):
        model.predict(np.ones((3, T, 2), np.float32))


def test_the_number_of_steps_may_change_from_call_to_call():
    model = Sequential([layers.LSTM(3)])
    assert model.predict(np.ones((4, T, 2))).shape == model.predict(np.ones((4, T + 3, 2))).shape == (4, 3)


def test_train_on_batch_takes_one_step():
    model = word_model()
    losses_seen = [model.train_on_batch(IDS, KINDS)[0] for _ in range(20)]
    assert losses_seen[-1] < losses_seen[0]
    assert model.steps == 20
    assert set(model.train_on_batch(IDS, KINDS, return_dict=True)) == {"loss", "accuracy"}


def test_the_summary_shows_shapes_and_counts(capsys):
    model = Sequential([layers.Dense(3)])
    model.summary()
    assert "(unbuilt)" in capsys.readouterr().out
    word = Sequential([layers.Input((T,)), layers.Embedding(V, 6), layers.LSTM(8, trainable=False), layers.Dense(3)])
    word.summary()
    out = capsys.readouterr().out
    assert "lstm (LSTM)" in out
    assert "(None, 5, 6)" in out
    assert "Non-trainable params: 480" in out
