"""The Keras-shaped front door: Keras' scripts with other imports, on the layers and the trainer of tinylm.

    from tinylm import Sequential, Embedding, LSTM, Dense     # the names of a tutorial
    from tinylm import sequential as keras                    # or all of them: keras.layers.GRU, keras.callbacks ...

Layers are frozen descriptions; `build(input_size)` makes the module. Floor 6: a thin layer over nn and training.
"""

from . import callbacks, initializers, layers, losses, metrics, optimizers, utils
from .layers import Input
from .model import Sequential
from .saving import load_model

__all__ = [
    "Input",
    "Sequential",
    "callbacks",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "optimizers",
    "utils",
]
