"""The weights of a model in Keras' HDF5 files: where each lies, and what older files hold otherwise.

Two layouts. Keras 2's, in `.h5`: a group for each layer under its name, the names of its weights in order as an
attribute (Keras 3 writes it too). Keras 3's, in `.weights.h5` and `.keras`: groups by class and number,
"layers/lstm_1/cell/vars/0".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm.formats.hdf5 import Dataset, Group

from .layer import KerasWeight, Layer
from .layered import Layered, snake_case
from .layers import LSTM, Bidirectional, TimeDistributed
from .recurrent import Recurrent

__all__ = ["from_cudnn", "places_by_class", "places_by_name", "read_arrays", "read_by_name"]

RANDOM_STATE = "seed_generator"  # of dropout layers, which Keras keeps beside the weights


def read_arrays(model: Layered, file: Group) -> list[np.ndarray]:
    """The weights for a model from any of Keras' files, in Keras' order. Raises TinylmError where they do not fit."""
    root = file.get("model_weights", file)
    if isinstance(root, Group) and _texts(root, "layer_names") is not None:
        return _by_order(model, read_by_name(root))
    return [_dataset(file, place).array for place, _ in places_by_class(model, file)]


def read_by_name(root: Group) -> dict[str, dict[str, np.ndarray]]:
    """The weights of each layer in Keras 2's layout, by the layer's name, by their own ("lstm/kernel:0")."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for layer in _texts(root, "layer_names") or []:
        group = root.get(layer)
        if not isinstance(group, Group):
            raise TinylmError(f"the group of the layer {layer!r:.80} is missing")
        names = _texts(group, "weight_names") or []
        found[layer] = {name: _dataset(group, name).array for name in names if RANDOM_STATE not in name}
    return found


def places_by_name(model: Layered) -> Iterator[tuple[str, list[tuple[str, KerasWeight]]]]:
    """(layer, its weights with their names) as Keras 2 names them."""
    for name, layer in zip(model.layer_names(), model.stack.layers, strict=True):
        yield name, [(f"{name}/{weight.name}:0", weight) for weight in layer.keras_weights()]


def places_by_class(model: Layered, file: Mapping[str, Any] | None = None) -> Iterator[tuple[str, KerasWeight]]:
    """(path, weight) for each weight of a model in Keras 3's layout. file: one that tf.keras may have written."""
    top = "_layer_checkpoint_dependencies" if file and "_layer_checkpoint_dependencies" in file else "layers"
    used: dict[str, int] = {}
    for layer, built in zip(model.layers, model.stack.layers, strict=True):
        kind = snake_case(type(layer).__name__)
        number = used[kind] = used.get(kind, -1) + 1
        group = f"{top}/{kind}_{number}" if number else f"{top}/{kind}"
        weights = built.keras_weights()
        yield from zip((f"{group}/{place}" for place in _inside(layer, len(weights))), weights, strict=True)


def _inside(layer: Layer, count: int) -> list[str]:
    """Where the weights of a layer lie in its group."""
    if isinstance(layer, TimeDistributed):
        return [f"layer/{place}" for place in _inside(layer.layer, count)]
    if isinstance(layer, Bidirectional):
        return [f"{way}_layer/cell/vars/{n}" for way in ("forward", "backward") for n in range(count // 2)]
    return [f"{'cell/' if isinstance(layer, Recurrent) else ''}vars/{n}" for n in range(count)]


def _by_order(model: Layered, found: Mapping[str, Mapping[str, np.ndarray]]) -> list[np.ndarray]:
    """Keras pairs layers with weights by their order; that the last word of their names agrees is checked as well."""
    groups = [(name, weights) for name, weights in found.items() if weights]
    built = [pair for pair in zip(model.layers, places_by_name(model), strict=True) if pair[1][1]]
    if len(groups) != len(built):
        raise TinylmError(f"it has {len(groups)} layers with weights ({', '.join(found):.200}), the model {len(built)}")
    arrays: list[np.ndarray] = []
    for (layer, (name, expected)), (stored, weights) in zip(built, groups, strict=True):
        words = [each.rpartition("/")[2].removesuffix(":0") for each in weights]
        if len(words) != len(expected) or any(
            not w.name.endswith(word) for word, (_, w) in zip(words, expected, strict=True)
        ):
            received, wanted = ", ".join(weights), ", ".join(each for each, _ in expected)
            raise TinylmError(f"the layer {stored!r:.80} has the weights {received:.200}; {name} expects {wanted}")
        arrays += _as_now(layer, list(weights.values()))
    return arrays


def _as_now(layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of a recurrent layer, turned where cuDNN's layers wrote them, which their biases tell."""
    if isinstance(layer, Bidirectional):
        half = len(arrays) // 2
        return [each for part in (arrays[:half], arrays[half:]) for each in _as_now(layer.layer, part)]
    gates = 4 if isinstance(layer, LSTM) else 3
    is_cudnn = isinstance(layer, Recurrent) and len(arrays) == 3 and arrays[2].shape == (2 * gates * layer.units,)
    return from_cudnn(*arrays) if is_cudnn else arrays


def from_cudnn(kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """The weights of CuDNNLSTM or CuDNNGRU as those of LSTM, or GRU with reset_after.

    The gates stand in the same order. Of each, the numbers lie in the order of the transposed matrix, though the file
    says (inputs, units). cuDNN has two biases: an LSTM's add up, a GRU's stay two.
    """
    units = recurrent_kernel.shape[0]
    gates = recurrent_kernel.shape[1] // units

    def reread(matrix: np.ndarray) -> np.ndarray:
        return np.concatenate([g.reshape(units, -1).T for g in np.split(matrix, gates, axis=1)], axis=1)

    biases = bias.reshape(2, -1)
    return [reread(kernel), reread(recurrent_kernel), biases.sum(axis=0) if gates == 4 else biases]


def _texts(group: Group, name: str) -> list[str] | None:
    """A list of texts, which Keras writes in parts where it is long; None where there is none."""
    if name in group.attributes:
        parts = [group.attributes[name]]
    else:
        parts = []
        while f"{name}{len(parts)}" in group.attributes:
            parts.append(group.attributes[f"{name}{len(parts)}"])
        if not parts:
            return None
    found = [text for part in parts if isinstance(part, list) for text in part]
    if not all(isinstance(text, str) for text in found) or not all(isinstance(part, list) for part in parts):
        raise TinylmError(f"{name} of {group.name!r:.80} is no list of names")
    return found


def _dataset(group: Group, name: str) -> Dataset:
    found = group.get(name)
    if not isinstance(found, Dataset):
        raise TinylmError(f"the weight {name!r:.120} is missing")
    return found
