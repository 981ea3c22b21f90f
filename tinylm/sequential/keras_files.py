"""Models and weights in Keras' own files, both ways: `.keras`, `.h5` and `.hdf5` of all versions, `.weights.h5`.

Read without h5py, and without running anything that a file holds; writing takes the extra `keras`. How a model was
compiled and the state of its optimizer are neither read nor written: `.safetensors` keeps them.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinylm.errors import FileFormatError, TinylmError
from tinylm.files import parse_json, write_atomically
from tinylm.formats.hdf5 import Group, read_hdf5

from .keras_config import describe_layers, layers_of
from .keras_weights import places_by_class, places_by_name, read_arrays
from .layered import Layered
from .model import Sequential

__all__ = ["HDF5", "is_keras_file", "load_keras_model", "load_keras_weights", "save_keras_model", "save_keras_weights"]

HDF5 = (".h5", ".hdf5")
KERAS_VERSION = "3.5.0"  # the first that the tests compare with
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"  # the members of a .keras file
MAX_CONFIG = 1 << 26
EPOCH = (1980, 1, 1, 0, 0, 0)  # of the members of a zip file: equal models give equal files


def is_keras_file(path: Path) -> bool:
    """Whether the name is that of a file of Keras'."""
    return path.suffix in (*HDF5, ".keras")


def load_keras_model(path: Path) -> Sequential:
    """The Sequential model of a `.keras` or `.h5` file, not compiled.

    Raises FileFormatError, naming the file and what is wrong: a layer that is not here, a Lambda, weights alone.
    """
    if path.suffix == ".keras":
        config, file = _open_archive(path)
    else:
        file = read_hdf5(path)
        text = file.attributes.get("model_config")
        if not isinstance(text, str):
            raise FileFormatError(path, "holds weights alone: make the model, then load_weights(file)")
        config = parse_json(text.encode("utf-8"), path)

    def rebuild() -> Sequential:
        layers, name = layers_of(config)
        model = Sequential(layers, name)
        if model.input is None:
            raise TinylmError("the model was saved before the shape of its input was known")
        model.build()
        model.set_weights(read_arrays(model, file))
        return model

    return _of_file(path, rebuild)


def load_keras_weights(model: Layered, path: Path) -> None:
    """Take over the weights of a file for a model of the same layers. Raises FileFormatError, changing nothing."""
    file = _open_archive(path)[1] if path.suffix == ".keras" else read_hdf5(path)
    _of_file(path, lambda: model.set_weights(read_arrays(model, file)))


def _of_file(path: Path, work: Callable[[], Any]) -> Any:
    """What `work` gives; its errors name the file."""
    try:
        return work()
    except FileFormatError:
        raise
    except (TinylmError, TypeError, OverflowError) as error:
        raise FileFormatError(path, str(error)) from None


def _open_archive(path: Path) -> tuple[Any, Group]:
    """(the description, the weights) of a `.keras` file."""
    if not path.is_file():
        raise FileFormatError(path, "is a folder, not a .keras file" if path.is_dir() else "there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            config, weights = (_member(path, archive, name) for name in (CONFIG, WEIGHTS))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(path, f"is no .keras file: {error}") from None
    return parse_json(config, path), read_hdf5(path, memoryview(weights))


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    if name not in archive.namelist():
        raise FileFormatError(path, f"is no .keras file with HDF5 weights: it holds no {name}")
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FileFormatError(path, f"{name} is compressed; Keras stores it as it is", info.header_offset)
    if name == CONFIG and info.file_size > MAX_CONFIG:
        raise FileFormatError(path, f"{name} has {info.file_size:,} bytes", info.header_offset)
    return archive.read(info)


# Written


def save_keras_model(model: Layered, path: Path) -> None:
    """Write a model that Keras' `load_model` opens, whole or not at all. Raises TinylmError for a layer it has not."""
    model.stack  # noqa: B018 - an unbuilt model has no weights to save
    config = json.dumps(describe_layers(model))
    if path.suffix == ".keras":
        weights = _hdf5(lambda file: _write_by_class(file, model))
        metadata = json.dumps({"keras_version": KERAS_VERSION, "date_saved": "1980-01-01@00:00:00"})
        members = {METADATA: metadata.encode(), CONFIG: config.encode(), WEIGHTS: weights}
        write_atomically(path, _archive(members))
        return

    def write(file: Any) -> None:
        file.attrs.update({"keras_version": KERAS_VERSION, "backend": "tinylm", "model_config": config})
        _write_by_name(file.create_group("model_weights"), model)

    write_atomically(path, _hdf5(write))


def save_keras_weights(model: Layered, path: Path) -> None:
    """Write the weights alone: in Keras 3's layout where the name ends in `.weights.h5`, else in Keras 2's."""
    if path.suffix not in HDF5:
        raise TinylmError(f"{path}: weights of Keras' are written to .weights.h5 (Keras 3) or .h5 (Keras 2)")
    model.stack  # noqa: B018
    by_class = path.name.endswith(".weights.h5")
    write_atomically(path, _hdf5(lambda file: (_write_by_class if by_class else _write_by_name)(file, model)))


def _hdf5(write: Callable[[Any], None]) -> bytes:
    """The bytes of an HDF5 file that a function has filled."""
    try:
        import h5py
    except ImportError:
        raise ImportError('writing files of Keras\' needs h5py: pip install "tinylm[keras]"') from None
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        write(file)
    return memory.getvalue()


def _write_by_class(file: Any, model: Layered) -> None:
    for place, weight in places_by_class(model):
        file[place] = weight.get()


def _write_by_name(group: Any, model: Layered) -> None:
    group.attrs.update({"keras_version": KERAS_VERSION, "backend": "tinylm"})
    places = list(places_by_name(model))
    _write_names(group, "layer_names", [name for name, _ in places])
    for name, weights in places:
        layer = group.create_group(name)
        _write_names(layer, "weight_names", [each for each, _ in weights])
        for each, weight in weights:
            layer[each] = weight.get()


def _write_names(group: Any, name: str, texts: list[str]) -> None:
    group.attrs[name] = np.array([text.encode("utf-8") for text in texts], "S" if texts else np.float64)


def _archive(members: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return memory.getvalue()
