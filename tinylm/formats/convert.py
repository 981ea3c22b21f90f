"""A model from one format into another; nothing is held in memory but the tensor that is being written."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from ..errors import TinylmError, nearest
from .gguf import save_gguf
from .model_folder import save_folder
from .npz import save_npz
from .opening import open_model
from .source import ModelSource
from .tensors import BYTE_ROWS

__all__ = ["CONVERSIONS", "DTYPES", "convert"]

# What weights become, by the names that users give: NumPy's dtype or a packed format.
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bf16", "q8_0": "q8_0", "q5_0": "q5_0"}
DTYPES |= {"q4_0": "q4_0", "q4_k": "q4_k", "int8": BYTE_ROWS}

Save = Callable[[ModelSource, Path, str | None], None]
# The formats, what writes them, and the types that they hold.
CONVERSIONS: dict[str, tuple[Save, tuple[str, ...]]] = {
    "safetensors": (save_folder, ("f32", "f16", "bf16")),
    "gguf": (save_gguf, tuple(DTYPES)),
    "npz": (save_npz, ("f32", "f16")),
}


def convert(
    model: str | PathLike[str], out: str | PathLike[str], *, to: str | None = None, dtype: str | None = None
) -> Path:
    """Write a model, opened as `open_model` does, in another format, and return where it is.

    to: "safetensors" for a model folder, "gguf" or "npz" for a file; where None, what the name of `out` says. dtype: a
    name in DTYPES; where None, weights stay as they are, or become float32 where the format has no such type. Raises
    TinylmError for what the format cannot hold.
    """
    path = Path(out)
    kind = to or (path.suffix[1:] if path.suffix in (".gguf", ".npz") else "safetensors")
    if kind not in CONVERSIONS:
        raise TinylmError(f"there is no format {kind!r}{nearest(kind, CONVERSIONS)}")
    save, dtypes = CONVERSIONS[kind]
    if dtype is not None and dtype not in dtypes:
        raise TinylmError(f"{kind} holds no {dtype}; it holds {', '.join(dtypes)}")
    save(open_model(model), path, None if dtype is None else DTYPES[dtype])
    return path
