"""Keras-shaped models, built twice: by Keras 3 and by tinylm, from one list of layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinylm import sequential


def pair(layers: Any, input_shape: tuple[int | None, ...], dtype: str = "float64") -> tuple[Any, Any]:
    """(Keras' model, ours with the same weights). layers: a function of the module that has `layers`."""
    import keras

    keras.config.set_floatx(dtype)
    theirs = keras.Sequential([keras.Input(input_shape[1:]), *layers(keras.layers)])
    ours = sequential.Sequential([sequential.Input(input_shape[1:]), *layers(sequential.layers)])
    take_weights(theirs, ours, dtype)
    return theirs, ours


def take_weights(theirs: Any, ours: Any, dtype: str = "float64") -> None:
    """Give both random weights, biases too, so that a wrong order shows."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.4, w.shape).astype(dtype) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.build()
    ours.stack.astype(dtype)
    ours.set_weights(weights)


def batch_logs(module: Any) -> Any:
    """A callback of the module's that keeps the logs of every step."""

    class BatchLogs(module.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.steps: list[dict[str, float]] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps.append({name: float(value) for name, value in logs.items()})

    return BatchLogs()
