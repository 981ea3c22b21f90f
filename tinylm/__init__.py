"""tinylm: a language-model engine written from scratch on NumPy, with hand-written Numba kernels.

    import tinylm

    run = tinylm.train(steps=200)              # a small GPT on the text that every Python carries
    lm = tinylm.load(run.best)
    print(lm.generate("The ", max_tokens=50))

The names below are loaded when they are first used, so that `import tinylm` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tinylm.api import find_learning_rate, train
    from tinylm.autograd import Observer, Parameter, Tensor, check_gradients, checkpoint, no_grad, observe
    from tinylm.errors import FileFormatError, TinylmError
    from tinylm.inference import Completion, GenerationSettings
    from tinylm.lm import LM, load
    from tinylm.process import prepare_process
    from tinylm.sequential import Sequential, load_model
    from tinylm.sequential.callbacks import EarlyStopping, History, ModelCheckpoint
    from tinylm.sequential.layers import (
        GRU,
        LSTM,
        Bidirectional,
        Dense,
        Dropout,
        Embedding,
        Input,
        LayerNormalization,
        MultiHeadAttention,
    )
    from tinylm.tuning import tune
    from tinylm_kernels import all_kernels, use

_HOMES = {
    "tinylm_kernels": ("all_kernels", "use"),
    "tinylm.api": ("find_learning_rate", "train"),
    "tinylm.autograd": ("Observer", "Parameter", "Tensor", "check_gradients", "checkpoint", "no_grad", "observe"),
    "tinylm.errors": ("FileFormatError", "TinylmError"),
    "tinylm.inference": ("Completion", "GenerationSettings"),
    "tinylm.lm": ("LM", "load"),
    "tinylm.process": ("prepare_process",),
    "tinylm.sequential": ("Sequential", "load_model"),
    "tinylm.sequential.layers": (
        "GRU",
        "LSTM",
        "Bidirectional",
        "Dense",
        "Dropout",
        "Embedding",
        "Input",
        "LayerNormalization",
        "MultiHeadAttention",
    ),
    "tinylm.tuning": ("tune",),
    "tinylm.sequential.callbacks": ("EarlyStopping", "History", "ModelCheckpoint"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "GRU",
    "LM",
    "LSTM",
    "Bidirectional",
    "Completion",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "FileFormatError",
    "GenerationSettings",
    "History",
    "Input",
    "LayerNormalization",
    "ModelCheckpoint",
    "MultiHeadAttention",
    "Observer",
    "Parameter",
    "Sequential",
    "Tensor",
    "TinylmError",
    "all_kernels",
    "check_gradients",
    "checkpoint",
    "find_learning_rate",
    "load",
    "load_model",
    "no_grad",
    "observe",
    "prepare_process",
    "train",
    "tune",
    "use",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tinylm' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
