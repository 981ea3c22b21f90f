"""Files of Keras': what is written is read back, older spellings are understood, and a bad file is one clear error."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bounded import run_bounded

from tinylm import sequential
from tinylm.errors import FileFormatError, TinylmError
from tinylm.formats.hdf5 import read_hdf5
from tinylm.sequential.keras_weights import from_cudnn
from tinylm.sequential.layers import GRU, LSTM, Bidirectional, Dense, Embedding, Input, TimeDistributed

h5py = pytest.importorskip("h5py", reason="files of Keras' are written with h5py")

IDS = np.array([[1, 2, 3, 0], [4, 4, 0, 0]])


def small(seed: int = 0) -> sequential.Sequential:
    model = sequential.Sequential(
        [
            Input((4,)),
            Embedding(6, 3, mask_zero=True),
            Bidirectional(LSTM(2, return_sequences=True)),
            GRU(3, return_sequences=True, reset_after=False),
            TimeDistributed(Dense(2, activation="tanh")),
            LSTM(2, use_bias=False, name="last"),
            Dense(2, activation="softmax"),
        ],
        "words",
        seed=seed,
    )
    model.build()
    return model


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.hdf5"])
def test_a_model_comes_back_from_the_files_of_keras(tmp_path, name) -> None:
    model = small()
    model.save(tmp_path / name)
    again = sequential.load_model(tmp_path / name)
    assert (again.name, again.layers, again.input) == (model.name, [*named(model)], model.input)
    assert np.array_equal(again.predict(IDS), model.predict(IDS))
    (tmp_path / "two").mkdir()
    again.save(tmp_path / "two" / name)
    assert (tmp_path / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def named(model):
    """The layers with the names that a file gives them."""
    return (replace(layer, name=name) for layer, name in zip(model.layers, model.layer_names(), strict=True))


@pytest.mark.parametrize("name", ["m.weights.h5", "m.h5"])
def test_weights_alone_go_into_a_model_of_the_same_layers(tmp_path, name) -> None:
    model, other = small(), small(seed=1)
    model.save_weights(tmp_path / name)
    other.load_weights(tmp_path / name)
    assert np.array_equal(other.predict(IDS), model.predict(IDS))
    with pytest.raises(FileFormatError, match="holds weights alone"):
        sequential.load_model(tmp_path / name)
    wider = sequential.Sequential([Input((4,)), Embedding(6, 3), LSTM(3)])
    wider.build()
    before = wider.get_weights()
    with pytest.raises(FileFormatError, match=name):
        wider.load_weights(tmp_path / name)
    assert all(np.array_equal(a, b) for a, b in zip(before, wider.get_weights(), strict=True))


def test_what_only_ours_knows_or_has_not_is_refused_before_anything_is_written(tmp_path) -> None:
    model = sequential.Sequential([Input((4, 6)), sequential.layers.MultiHeadAttention(2, 3)])
    for name, call, words in [
        ("m.keras", model.save, "MultiHeadAttention has no place in a Sequential model of Keras'"),
        ("m.weights", model.save_weights, r"written to \.weights\.h5"),
    ]:
        with pytest.raises(TinylmError, match=words):
            call(tmp_path / name)
    with pytest.raises(TinylmError, match="input_shape"):
        sequential.Sequential([Dense(2)]).save(tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


# What older versions wrote


def keras2(path: Path, layers: list, weights: dict[str, dict[str, np.ndarray]], **config) -> Path:
    """A file as Keras 2 writes it."""
    described = {"class_name": "Sequential", "config": {"name": "old", "layers": layers, **config}}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.2.4"
        file.attrs["model_config"] = json.dumps(described).encode()
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [each.encode() for each in arrays]
            for each, array in arrays.items():
                group[each] = array
    return path


def drawn(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def test_a_file_of_keras_2_is_read_with_its_own_words_for_shapes_activations_and_initializers(tmp_path) -> None:
    kernel, recurrent, bias, w, b = drawn(0, (3, 8), (2, 8), (8,), (2, 4), (4,))
    scaling = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "seed": None}}
    lstm = {"name": "lstm_1", "trainable": True, "batch_input_shape": [None, None, 3], "dtype": "float32", "units": 2,
            "activation": "tanh", "recurrent_activation": "sigmoid", "kernel_initializer": scaling, "unroll": False,
            "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}}, "implementation": 1,
            "recurrent_dropout": 0.0, "return_state": False, "bias_constraint": None}  # fmt: skip
    dense = {"name": "out", "units": 4, "activation": {"class_name": "function", "config": "softmax"}}
    path = keras2(
        tmp_path / "old.h5",
        [{"class_name": "LSTM", "config": lstm}, {"class_name": "Dense", "config": dense}],
        {"lstm_1": {"lstm_1/kernel:0": kernel, "lstm_1/recurrent_kernel:0": recurrent, "lstm_1/bias:0": bias},
         "out": {"out/kernel:0": w, "out/bias:0": b}},
    )  # fmt: skip
    with pytest.warns(UserWarning, match="kernel_regularizer is left out"):
        model = sequential.load_model(path)
    expected = sequential.Sequential([Input((None, 3)), LSTM(2), Dense(4, activation="softmax")])
    expected.build()
    expected.set_weights([kernel, recurrent, bias, w, b])
    x = drawn(1, (2, 5, 3))[0]
    assert np.array_equal(model.predict(x), expected.predict(x))


@pytest.mark.parametrize(("kind", "layer", "gates"), [("CuDNNLSTM", LSTM(2), 4), ("CuDNNGRU", GRU(2), 3)])
def test_weights_in_the_layout_of_cudnn_are_turned(tmp_path, kind, layer, gates) -> None:
    kernel, recurrent, bias = drawn(0, (3, gates * 2), (2, gates * 2), (2 * gates * 2,))
    name = kind.lower()
    path = keras2(
        tmp_path / "gpu.h5",
        [{"class_name": kind, "config": {"name": name, "units": 2, "batch_input_shape": [None, None, 3]}}],
        {name: {f"{name}/kernel:0": kernel, f"{name}/recurrent_kernel:0": recurrent, f"{name}/bias:0": bias}},
    )
    turned = from_cudnn(kernel, recurrent, bias)
    gate = kernel[:, 2:4]  # the second one, its numbers in the order of (units, inputs)
    assert np.array_equal(turned[0][:, 2:4].T.ravel(), gate.ravel())
    expected = sequential.Sequential([Input((None, 3)), layer])
    expected.build()
    expected.set_weights(turned)
    x = drawn(1, (2, 5, 3))[0]
    assert np.array_equal(sequential.load_model(path).predict(x), expected.predict(x))


LSTM_FIELDS = {"name": "a", "units": 2, "batch_input_shape": [None, None, 3]}


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("Conv1D", {"name": "c", "filters": 2}, "the layer 'c' is a Conv1D, which is not here"),
        ("Lambda", {"name": "f", "function": ["4wEAAAA=", None, None]}, "'f' is a Lambda: Python code .* never run"),
        ("LSTM", LSTM_FIELDS | {"recurrent_activation": "hard_sigmoid"}, "'hard_sigmoid'; the choices are sigmoid"),
        ("LSTM", LSTM_FIELDS | {"return_state": True}, "LSTM has no 'return_state' here, and it is True"),
        ("LSTM", LSTM_FIELDS | {"peephole": 1}, "no 'peephole' here"),
        ("LSTM", LSTM_FIELDS | {"units": "2"}, "units is '2'"),
        ("LSTM", {"name": "a", "batch_input_shape": [None, 3]}, "units"),
        ("Bidirectional", {"name": "b", "layer": {"class_name": "Dense", "config": {"units": 2}}}, "a recurrent layer"),
        ("Bidirectional", {"name": "b", "layer": 3}, "3 describes no layer"),
    ],
)
def test_what_is_not_here_is_refused_by_name(tmp_path, kind, fields, words) -> None:
    path = keras2(tmp_path / "m.h5", [{"class_name": kind, "config": fields}], {})
    with pytest.raises(FileFormatError, match=words):
        sequential.load_model(path)


@pytest.mark.parametrize("config", [[], {"class_name": "Functional", "config": {}}, {"class_name": "Sequential"}, 5])
def test_a_description_of_another_model_is_refused(tmp_path, config) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(FileFormatError, match=r"m\.h5"):
        sequential.load_model(tmp_path / "m.h5")


# Bad files


def test_data_that_is_not_plain_or_lies_elsewhere_is_refused(tmp_path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("packed", data=np.zeros(64), compression="gzip")
        file.create_dataset("pieces", data=np.zeros(64), chunks=(8,))
        file.create_dataset("elsewhere", (64,), "u1", external=[("/etc/hostname", 0, 64)])
        file.create_dataset("texts", data=np.array([b"a"]))
        file.create_dataset("empty", (0, 3), "f4")
        file["here"] = np.arange(3)
        file.attrs["shape"] = [1.5, 2.5]
    opened = read_hdf5(tmp_path / "m.h5")
    for name, words in [
        ("packed", "compressed"),
        ("pieces", "chunks"),
        ("elsewhere", "other file"),
        ("texts", "numbers"),
    ]:
        with pytest.raises(FileFormatError, match=words):
            opened[name].array  # noqa: B018
    assert opened["here"].array.tolist() == [0, 1, 2]
    assert opened["empty"].array.shape == (0, 3)
    assert opened.attributes["shape"] == [1.5, 2.5]
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["link"] = h5py.ExternalLink("m.h5", "/here")
    with pytest.raises(FileFormatError):
        list(read_hdf5(tmp_path / "link.h5"))
    with h5py.File(tmp_path / "new.h5", "w", libver="latest") as file:
        file["here"] = np.arange(3)
    with pytest.raises(FileFormatError, match="libver='earliest'"):
        read_hdf5(tmp_path / "new.h5")


@pytest.mark.parametrize("fault", ["no config", "no weights", "compressed", "no zip", "missing", "folder"])
def test_a_bad_archive_is_an_error_that_names_it(tmp_path, fault) -> None:
    path, good = tmp_path / "m.keras", tmp_path / "good.keras"
    small().save(good)
    with zipfile.ZipFile(good) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if fault.startswith("no ") and fault != "no zip":
        members.pop({"no config": "config.json", "no weights": "model.weights.h5"}[fault])
    if fault == "no zip":
        path.write_bytes(b"PK\3\4 and nothing")
    elif fault == "folder":
        path.mkdir()
    elif fault != "missing":
        kind = zipfile.ZIP_DEFLATED if fault == "compressed" else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    with pytest.raises(FileFormatError, match=r"m\.keras"):
        sequential.load_model(path)


@pytest.mark.parametrize(
    ("name", "every"), [("m.h5", 61), ("m.keras", 61), pytest.param("m.h5", 1, marks=pytest.mark.slow)]
)
def test_a_flip_or_a_cut_is_read_or_refused_in_bounded_time_and_memory(tmp_path, name, every) -> None:
    """One byte of so many, or every one; the HDF5 library hangs on some of these."""
    model = sequential.Sequential([Input((4,)), Embedding(6, 3), LSTM(2), Dense(2)])
    model.save(tmp_path / name)
    printed = run_bounded(
        f"""
import warnings
from tinylm.sequential import load_model

warnings.simplefilter("ignore")  # of regularizers that a flip made
good, bad = (folder / {name!r}).read_bytes(), folder / {"bad" + Path(name).suffix!r}
load_model(folder / {name!r}).predict([[1, 2, 3, 4]])
limit_memory()
changed = cuts(good, {7 * every}) + flips(good, range(0, len(good), {every}), every=8)
print(refusals(bad, changed, load_model), len(changed))
""",
        tmp_path,
    )
    refused, changed = map(int, printed.split())
    assert changed / 20 < refused < changed


def test_reading_takes_numpy_alone(tmp_path) -> None:
    small().save(tmp_path / "m.h5")
    script = (
        "import sys; sys.modules['h5py'] = None; from tinylm.sequential import load_model; "
        "model = load_model(sys.argv[1]); print(len(model.layers));\n"
        "try: model.save(sys.argv[1])\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "m.h5"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["6", 'writing files of Keras\' needs h5py: pip install "tinylm[keras]"']
