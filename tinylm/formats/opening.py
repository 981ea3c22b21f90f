"""Opening a model whatever it lies in: one way in for `tinylm.load` and every command."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..errors import FileFormatError
from .gguf import open_gguf
from .locate import locate_model
from .mapped import other_kind
from .model_folder import open_folder
from .npz import open_npz
from .peft import ADAPTER_CONFIG, open_adapter
from .source import ModelSource

__all__ = ["MODEL_FILES", "open_model"]

# What opens a file, by the end of its name.
MODEL_FILES = {".gguf": open_gguf, ".npz": open_npz}


def open_model(name: str | PathLike[str]) -> ModelSource:
    """The model in a folder, the best one in a run folder, in a .gguf or .npz file, or in a repository of the Hub.

    A folder may also hold an adapter, which opens as its model with the changes added.

    Only headers are read. Raises FileFormatError for a file that is malformed, or of a kind that is not read: a pickle,
    which can run code, among them.
    """
    path = locate_model(name)
    if path.is_dir():
        folder = path / "best" if (path / "best").is_dir() else path
        return open_adapter(folder, open_model) if (folder / ADAPTER_CONFIG).exists() else open_folder(folder)
    if path.suffix in MODEL_FILES:
        return MODEL_FILES[path.suffix](path)
    raise FileFormatError(path, _refusal(path))


def _refusal(path: Path) -> str:
    if path.suffix == ".safetensors":
        return "holds weights alone: name the folder, which has their config.json as well"
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return "is a file of Keras': tinylm.sequential.load_model opens it"
    with open(path, "rb") as file:
        kind = other_kind(file.read(32))
    return f"is {kind or 'no model that is read here'}; expected a model folder, a .gguf or a .npz file"
