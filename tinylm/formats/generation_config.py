"""How a folder's texts begin and end: generation_config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError
from tinylm.files import read_json

from .source import ModelSource

__all__ = ["GENERATION_CONFIG", "GenerationConfig", "read_generation_config"]

GENERATION_CONFIG = "generation_config.json"


@dataclass(frozen=True)
class GenerationConfig:
    """What generation_config.json says of the tokens that begin and end a text; `settings` is all that it says.

    eos_token_id: those that end a text; empty where the file names none. decoder_start_token_id: what the decoder of an
    encoder-decoder reads first. forced_bos_token_id: the first token of every target, forced_eos_token_id: the last one
    that fits. banned: tokens that are never written.
    """

    eos_token_id: tuple[int, ...] = ()
    decoder_start_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    banned: tuple[int, ...] = ()
    settings: Mapping[str, Any] | None = None


def read_generation_config(source: ModelSource) -> GenerationConfig:
    """What the file beside a model says, or where there is none, as with older models and GGUF, its other settings.

    Raises FileFormatError for ids that are none, and for words of several tokens that are never to be written, which is
    not supported.
    """
    file = source.path / GENERATION_CONFIG
    if not file.exists():
        return _read(source.settings_path, source.settings)
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise FileFormatError(file, f"expected an object, received {type(settings).__name__}")
    return dataclasses.replace(_read(file, settings), settings=settings)


def _read(file: Path, settings: Mapping[str, Any]) -> GenerationConfig:
    words = settings.get("bad_words_ids") or []
    if not isinstance(words, list) or not all(isinstance(word, list) and len(word) == 1 for word in words):
        raise FileFormatError(file, f"bad_words_ids is {words!r:.60}, supported: lists of one token each")
    banned = _ids(file, "bad_words_ids", [word[0] for word in words])
    ends = _ids(file, "eos_token_id", settings.get("eos_token_id"))
    start, first, last = (next(iter(_ids(file, name, settings.get(name))), None) for name in ONE_TOKEN)
    return GenerationConfig(
        ends,
        decoder_start_token_id=start,
        forced_bos_token_id=first,
        forced_eos_token_id=last,
        banned=tuple(id for id in banned if id not in ends),
    )


ONE_TOKEN = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")


def _ids(file: Path, name: str, value: Any) -> tuple[int, ...]:
    """The ids of a setting that is one id, a list of them, or null."""
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if not all(type(id) is int and id >= 0 for id in ids):
        raise FileFormatError(file, f"{name} is {value!r:.60}, expected ids of tokens")
    return tuple(ids)
