"""How a sentence encoder makes one vector of a text: modules.json of a folder, and what it names."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError
from tinylm.files import read_json, write_json

__all__ = ["MODULES", "Pooling", "read_pooling", "write_pooling"]

# The fields of 1_Pooling/config.json that are computed here.
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first", "pooling_mode_max_tokens": "max"}
MODULES, LIMIT = "modules.json", "sentence_bert_config.json"


@dataclass(frozen=True)
class Pooling:
    """mode: the "mean" of the hidden states of a text's tokens, their "max", or the "first"; normalize: to length 1.

    max_tokens: where a text is cut; None for the context of the model.
    """

    mode: str = "mean"
    normalize: bool = False
    max_tokens: int | None = None


def read_pooling(folder: str | PathLike[str]) -> Pooling:
    """What the files of sentence-transformers say; the mean, as it is, where there are none.

    Raises FileFormatError for a step or a mode that is not computed here.
    """
    path = Path(folder)
    modules = path / MODULES
    if not modules.exists():
        return Pooling()
    mode, normalize = "mean", False
    steps = read_json(modules)
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise FileFormatError(modules, "expected a list of modules")
    for step in steps:
        kind = str(step.get("type")).rpartition(".")[2]
        if kind == "Pooling":
            mode = _read_mode(path / str(step.get("path")) / "config.json")
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise FileFormatError(modules, f"module {kind!r} is not supported, only Transformer, Pooling, Normalize")
    return Pooling(mode, normalize, _read_limit(path / LIMIT))


def write_pooling(folder: str | PathLike[str], pooling: Pooling) -> None:
    """Write what `read_pooling` reads, and sentence-transformers; nothing for the mean as it is."""
    if pooling == Pooling():
        return
    path = Path(folder)
    kinds = ["Transformer", "Pooling", *["Normalize"] * pooling.normalize]
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds[1:], 1))]
    steps = [
        {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    for place in places[1:]:
        (path / place).mkdir(parents=True, exist_ok=True)
    settings = read_json(path / "config.json")
    width = {"word_embedding_dimension": settings.get("hidden_size") or settings["dim"]}  # DistilBERT's name
    write_json(path / places[1] / "config.json", width | {name: mode == pooling.mode for name, mode in MODES.items()})
    if pooling.max_tokens is not None:
        write_json(path / LIMIT, {"max_seq_length": pooling.max_tokens, "do_lower_case": False})
    write_json(path / MODULES, steps)


def _read_mode(file: Path) -> str:
    settings = _read_object(file)
    chosen = [name for name, value in settings.items() if name.startswith("pooling_mode_") and value]
    if len(chosen) != 1 or chosen[0] not in MODES:
        raise FileFormatError(file, f"the modes {chosen} are not supported, only one of {', '.join(MODES)}")
    return MODES[chosen[0]]


def _read_limit(file: Path) -> int | None:
    limit = _read_object(file).get("max_seq_length") if file.exists() else None
    if limit is not None and (type(limit) is not int or limit < 1):
        raise FileFormatError(file, f"max_seq_length is {limit!r}, expected a number of tokens")
    return limit


def _read_object(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise FileFormatError(file, "is missing")
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise FileFormatError(file, f"expected an object, received {type(settings).__name__}")
    return settings
