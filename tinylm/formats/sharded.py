"""Weights in one safetensors file, or in several with an index beside them.

    model-00001-of-00003.safetensors ...    each a safetensors file of its own
    model.safetensors.index.json            {"metadata": {"total_size": bytes}, "weight_map": {"tensor": "file", ...}}

Source: huggingface_hub, "Serialization": the names and the index that transformers writes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..files import read_json, write_atomically
from .safetensors import MAX_TENSORS, read_safetensors, write_safetensors
from .tensors import StoredArray, StoredTensor, Tensors, unmade

__all__ = ["INDEX", "SINGLE", "read_weights", "write_weights"]

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000  # as huggingface_hub cuts by default
MAX_SHARDS = 10_000


def read_weights(folder: str | os.PathLike[str]) -> Tensors:
    """The tensors of the one file in a folder, or of all that its index names. Raises FileFormatError.

    Every file must hold what the index says, no more and no less, and lie in the folder itself.
    """
    path = Path(folder)
    if (path / SINGLE).exists() or not (path / INDEX).exists():
        return read_safetensors(path / SINGLE)
    files: dict[str, set[str]] = {}
    for name, file in _weight_map(path / INDEX).items():
        files.setdefault(file, set()).add(name)
    if len(files) > MAX_SHARDS:
        raise FileFormatError(path / INDEX, f"names {len(files):,} files, over the cap of {MAX_SHARDS:,}")
    stored: dict[str, StoredTensor] = {}
    for file, names in files.items():
        tensors = read_safetensors(path / file)
        if names != set(tensors):
            wrong = min(names ^ set(tensors))
            what = "is not in it" if wrong in names else "is in it, and the index does not say so"
            raise FileFormatError(path / file, f"the tensor {wrong!r:.80} {what}: {INDEX} does not belong to it")
        stored |= {name: tensors.stored(name) for name in tensors}
    return Tensors(stored)


def _weight_map(index: Path) -> dict[str, str]:
    fields = read_json(index)
    found = fields.get("weight_map") if isinstance(fields, dict) else None
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise FileFormatError(index, "expected an object whose weight_map gives the file of each tensor")
    if len(found) > MAX_TENSORS:
        raise FileFormatError(index, f"{len(found):,} tensors, over the cap of {MAX_TENSORS:,}")
    for name, file in found.items():
        # A path would let a folder that was downloaded name any file of this machine.
        if not file.endswith(".safetensors") or file != os.path.basename(file) or "\\" in file or ":" in file:
            raise FileFormatError(
                index, f"the tensor {name!r:.80} lies in {file!r:.80}, not a safetensors file beside it"
            )
    return found


def write_weights(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, StoredArray],
    metadata: Mapping[str, str] | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write model.safetensors, or several files of about `shard_bytes` and, last, their index.

    What an earlier write has left in the other form is removed when the new one is whole. Raises as
    `write_safetensors`.
    """
    path = Path(folder)
    shards = _shards(tensors, shard_bytes)
    if len(shards) == 1:
        write_safetensors(path / SINGLE, tensors, metadata)
        _remove(path, [INDEX, *_shard_names(path)])
        return
    _remove(path, [INDEX])  # of earlier shards, which are about to be replaced one by one
    weight_map: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(path / file, Tensors(shard), metadata)
        weight_map |= dict.fromkeys(shard, file)
        total += sum(tensor.nbytes for tensor in shard.values())
    content: dict[str, Any] = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_atomically(path / INDEX, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))
    _remove(path, [SINGLE, *(set(_shard_names(path)) - set(weight_map.values()))])


def _shards(tensors: Mapping[str, StoredArray], limit: int) -> list[dict[str, StoredTensor]]:
    """The tensors in order, cut before the one that would exceed the limit; one that exceeds it alone stands alone."""
    shards: list[dict[str, StoredTensor]] = [{}]
    size = 0
    for name, value in unmade(tensors).items():
        tensor = value if isinstance(value, StoredTensor) else StoredTensor.of(value)
        if shards[-1] and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _shard_names(path: Path) -> list[str]:
    return [file.name for file in path.glob("model-*-of-*.safetensors")]


def _remove(path: Path, names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (path / name).unlink()
