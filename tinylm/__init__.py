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
    from tinylm.api import train
    from tinylm.autograd import Observer, Parameter, Tensor, check_gradients, checkpoint, no_grad, observe
    from tinylm.errors import FileFormatError, TinylmError
    from tinylm.lm import LM, load
    from tinylm.process import prepare_process
    from tinylm_kernels import all_kernels, use

_HOMES = {
    "tinylm_kernels": ("all_kernels", "use"),
    "tinylm.api": ("train",),
    "tinylm.autograd": ("Observer", "Parameter", "Tensor", "check_gradients", "checkpoint", "no_grad", "observe"),
    "tinylm.errors": ("FileFormatError", "TinylmError"),
    "tinylm.lm": ("LM", "load"),
    "tinylm.process": ("prepare_process",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LM",
    "FileFormatError",
    "Observer",
    "Parameter",
    "Tensor",
    "TinylmError",
    "all_kernels",
    "check_gradients",
    "checkpoint",
    "load",
    "no_grad",
    "observe",
    "prepare_process",
    "train",
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
