"""The layers of a model as Keras describes them in its files, and back: the JSON of Keras 2, tf.keras and Keras 3.

A description is data: nothing in it is run, imported or looked up elsewhere than in the table of layers below.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from tinylm.errors import TinylmError, nearest

from . import layers
from .initializers import INITIALIZERS
from .layer import Layer
from .layered import Layered, snake_case
from .layers import Input

__all__ = ["describe_layers", "layers_of"]

LAYERS: dict[str, type[Layer]] = {
    name: getattr(layers, name) for name in layers.__all__ if name not in ("Input", "MultiHeadAttention")
}
OLD_NAMES = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}  # whose weights `keras_weights` turns

# Settings that have no counterpart, and the values that change nothing; None for any value.
UNUSED: dict[str, tuple[Any, ...] | None] = {
    "dtype": None, "seed": None, "unroll": None, "implementation": None, "input_length": None, "input_dim": None,
    "batch_shape": None, "batch_input_shape": None, "sparse": (False,), "ragged": (False,), "optional": (False,),
    "return_state": (False,), "time_major": (False,), "zero_output_for_mask": (False,), "quantization_config": (None,),
    "lora_rank": (None,), "lora_alpha": (None,), "noise_shape": (None,), "rms_scaling": (False,), "keepdims": (False,),
    "data_format": ("channels_last", None), "cudnn": None, "use_cudnn": None, "input_spec": None,
}  # fmt: skip
_DEFAULT = object()  # in place of a setting whose default serves
IN_TRAINING = ("recurrent_dropout", "activity_regularizer")  # and what ends in _regularizer or _constraint


def layers_of(model: Any) -> tuple[list[Layer | Input], str]:
    """(the layers, the name) of a Sequential model that Keras described.

    Raises TinylmError for another kind of model, and for layers and settings that are not here, with their names.
    """
    name, config = _object(model)
    if name != "Sequential":
        raise TinylmError(f"the model is a {name:.60}; only a Sequential one can be read")
    described = config.get("layers")
    if not isinstance(described, list) or not described:
        raise TinylmError("the model has no list of layers")
    found: list[Layer | Input] = []
    for number, layer in enumerate(described):
        kind, fields = _object(layer)
        shape = fields.get("batch_shape", fields.get("batch_input_shape"))
        if shape is None and number == 0:
            shape = config.get("build_input_shape")
        if number == 0 and shape is not None:
            if not isinstance(shape, list) or not shape:
                raise TinylmError(f"the shape of the input is {shape!r:.80}")
            found.append(Input(tuple(shape[1:])))
        if kind != "InputLayer":
            found.append(_layer(kind, fields))
    return found, str(config.get("name", "sequential"))


def describe_layers(model: Layered) -> dict[str, Any]:
    """A model as Keras 3 describes it; Keras 2 reads the same, as what it does not know stands beside its fields."""
    assert model.input is not None
    described = [
        _describe(dataclasses.replace(layer, name=name))
        for layer, name in zip(model.layers, model.layer_names(), strict=True)
    ]
    shape = {"batch_shape": [None, *model.input.shape], "dtype": "float32", "name": "input_layer"}
    first = _named("keras.layers", "InputLayer", shape)
    return _named("keras", "Sequential", {"name": model.name, "layers": [first, *described]})


def _describe(layer: Layer) -> dict[str, Any]:
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise TinylmError(f"{kind} has no place in a Sequential model of Keras'; save it as .safetensors")
    fields = {n: _describe(v) if isinstance(v, Layer) else v for n, v in layer.config().items()}
    optional = [name for name in ("name", "backward_layer") if fields.get(name, 0) is None]
    return _named("keras.layers", kind, {n: v for n, v in fields.items() if n not in optional})


def _named(module: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _object(described: Any) -> tuple[str, dict[str, Any]]:
    """(class, config) of what Keras writes for an object."""
    name = described.get("class_name") if isinstance(described, dict) else None
    config = described.get("config") if isinstance(described, dict) else None
    if name == "Sequential" and isinstance(config, list):  # Keras before 2.2.3
        config = {"layers": config}
    if not isinstance(name, str) or not isinstance(config, dict):
        raise TinylmError(f"{described!r:.80} describes no layer")
    return name, config


def _layer(kind: str, fields: Mapping[str, Any]) -> Layer:
    """The layer of a class and its settings. Raises TinylmError."""
    known = OLD_NAMES.get(kind, kind)
    where = f"the layer {fields.get('name')!r:.60}"
    if kind == "Lambda":
        raise TinylmError(f"{where} is a Lambda: Python code in a file, which is never run")
    if known not in LAYERS:
        raise TinylmError(f"{where} is a {kind:.60}, which is not here{nearest(kind, LAYERS)}")
    described = LAYERS[known]
    own = {field.name: field for field in dataclasses.fields(described)}
    settings = {name: _value(name, value) for name, value in fields.items() if name in own}
    if known == "GRU":
        settings.setdefault("reset_after", kind == "CuDNNGRU")  # as it was before there was a choice
    for name, value in fields.items():
        if name not in own:
            _check_unused(where, known, name, value)
    given = {name: value for name, value in settings.items() if value is not _DEFAULT}
    try:
        return described(**given)
    except TypeError as error:
        raise TinylmError(f"{where}, {kind}: {error}") from None
    except TinylmError as error:
        raise TinylmError(f"{where}: {error}") from None


def _value(name: str, value: Any) -> Any:
    """A setting as our layers take it."""
    if name in ("layer", "backward_layer"):
        if value is None:
            return None
        kind, fields = _object(value)
        fields.pop("zero_output_for_mask", None)  # which Bidirectional decides for its layers
        return _layer(kind, fields)
    if name.endswith("_initializer"):  # the weights are in the file
        chosen = _object(value)[0] if isinstance(value, dict) else value
        chosen = snake_case(chosen) if isinstance(chosen, str) else ""
        return chosen if chosen in INITIALIZERS else _DEFAULT
    if name == "axis":  # Keras 2 counts from the front, and writes a list
        axis = value[0] if isinstance(value, list) and len(value) == 1 else value
        return -1 if axis == 2 else axis
    if isinstance(value, dict):  # an activation
        return value.get("config") if isinstance(value.get("config"), str) else snake_case(_object(value)[0])
    return value


def _check_unused(where: str, kind: str, name: str, value: Any) -> None:
    if name in IN_TRAINING or name.endswith(("_regularizer", "_constraint")):
        if value:
            message = f"{where}: {name} is left out: what it predicts is the same, training it further is not"
            warnings.warn(message, stacklevel=2)
        return
    allowed = UNUSED.get(name, ())
    if allowed is not None and value not in allowed:
        raise TinylmError(f"{where}: {kind} has no {name!r:.60} here, and it is {value!r:.80}")
