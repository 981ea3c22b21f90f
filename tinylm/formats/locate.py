"""Where a model lies: a path of this machine, or a repository of the Hugging Face Hub."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from ..errors import FileFormatError, TinylmError
from ..extras import import_extra
from .sharded import INDEX, SINGLE

__all__ = ["locate_model"]

# "owner/name", as the Hub allows it.
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

# What is fetched: what a model folder needs, and nothing that could run code.
_SMALL = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
          "vocab.json", "vocab.txt", "merges.txt", "*.model", "adapter_config.json"]  # fmt: skip
_WEIGHTS = [SINGLE, INDEX, "model-*-of-*.safetensors", "adapter_model.safetensors"]


def locate_model(name: str | PathLike[str]) -> Path:
    """The path of a model: `name` where that exists, else the folder into which the Hub's repository is fetched.

    What was fetched before is not fetched again. Raises FileFormatError where there is neither, TinylmError where the
    Hub has no such model or cannot be reached.
    """
    path = Path(name)
    if path.exists():
        return path
    if not isinstance(name, str) or not _REPOSITORY.fullmatch(name):
        raise FileFormatError(path, "there is no such model folder or file")
    return _fetch(name)


def _fetch(repository: str) -> Path:
    hub = import_extra("huggingface_hub", f"{repository} is no file here; to fetch it from the Hugging Face Hub one")
    errors = import_extra("huggingface_hub.errors", "the Hub")
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=[*_SMALL, *_WEIGHTS]))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise TinylmError(f"{repository} is no file here, and cannot be fetched: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
