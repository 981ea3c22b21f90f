"""A model in one .npz file, which NumPy alone can read: arrays by Hugging Face's names, and the settings as JSON.

    transformer.wte.weight ...       the weights, named and laid out as in model.safetensors; float16, 32 or 64
    config.json, tokenizer.json      texts in UTF-8, as NumPy's bytes: np.load(file)["config.json"].item().decode()

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import json
import math
import os
import tokenize
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinylm.text import tokenizer_of_fields

from ..errors import FileFormatError
from ..files import parse_json, write_atomically
from .mapped import other_kind
from .source import ModelSource
from .tensors import StoredTensor, Tensors, as_dtype, unpacked

__all__ = ["open_npz", "save_npz"]

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
FLOATS = ("float16", "float32", "float64")
MAX_MEMBERS = 100_000

# What zipfile and NumPy raise for files that are none of theirs.
_MALFORMED = (
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError, ValueError, TypeError, NotImplementedError,
    RuntimeError, EOFError, OverflowError,
)  # fmt: skip

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_npz(path: str | os.PathLike[str]) -> ModelSource:
    """The model of an npz file with a config.json; arrays are read, and their checksums checked, when they are used.

    No pickle is read, and no member that is compressed. Raises FileFormatError.
    """
    file = Path(path)
    if not file.is_file():
        raise FileFormatError(file, "is a folder, not an npz file" if file.is_dir() else "there is no such file")
    try:
        with zipfile.ZipFile(file) as archive:
            members = {_name(file, info): _member(file, archive, info) for info in _infos(file, archive)}
    except _MALFORMED as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(file, _refusal(file, error)) from None
    texts = {name: members.pop(name) for name in (CONFIG, TOKENIZER) if name in members}
    if CONFIG not in texts:
        raise FileFormatError(file, f"is no model: it holds no {CONFIG}")
    for name, tensor in members.items():
        if tensor.dtype not in FLOATS:
            raise FileFormatError(file, f"the array {name!r:.80} is {tensor.dtype}; expected {', '.join(FLOATS)}")
    settings = _json(file, CONFIG, texts[CONFIG])
    if not isinstance(settings, dict):
        raise FileFormatError(file, f"{CONFIG} must hold an object, not {type(settings).__name__}")
    tokenizer = partial(_tokenizer, file, texts[TOKENIZER]) if TOKENIZER in texts else None
    return ModelSource.of_file(file, settings, Tensors(members), tokenizer)


def save_npz(source: ModelSource, path: str | os.PathLike[str], dtype: str | None = None) -> None:
    """Write a model as one npz file, atomically and durably.

    dtype: float32 or float16; None keeps those and unpacks whatever is packed to float32.
    """
    texts = {CONFIG: dict(source.settings)}
    if source.get_tokenizer:
        texts[TOKENIZER] = source.tokenizer().to_json()
    tensors = source.checked_tensors(source.empty_model())

    def write(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, value in texts.items():
                _write_member(archive, name, np.array(json.dumps(value, ensure_ascii=False).encode("utf-8")))
            for name, tensor in tensors.items():
                kind = dtype or (tensor.dtype if tensor.dtype in FLOATS else "float32")
                made = as_dtype(name, tensor, kind).make()
                _write_member(archive, name, np.asarray(made))

    write_atomically(path, write)


def _write_member(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # whose date is 1980: equal models give equal files
    with archive.open(info, "w", force_zip64=True) as member:
        np.lib.format.write_array(member, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)


def _infos(file: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise FileFormatError(file, f"{len(infos):,} arrays, over the cap of {MAX_MEMBERS:,}")
    if len({info.filename for info in infos}) < len(infos):
        raise FileFormatError(file, "holds an array twice")
    return infos


def _name(file: Path, info: zipfile.ZipInfo) -> str:
    if not info.filename.endswith(".npy"):
        raise FileFormatError(file, f"holds {info.filename!r:.80}, which is no array of NumPy's")
    return info.filename.removesuffix(".npy")


def _member(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> StoredTensor:
    """An array of which the header alone is read."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FileFormatError(file, f"{info.filename!r:.80} is compressed; write it with np.savez", info.header_offset)
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise FileFormatError(file, f"{info.filename!r:.80} is of version {version}", info.header_offset)
        shape, by_columns, dtype = _HEADERS[version](member)
        rest = info.file_size - member.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != rest:
        what = "holds Python objects" if dtype.hasobject else f"of shape {shape} does not fill its {rest:,} bytes"
        raise FileFormatError(file, f"{info.filename!r:.80} {what}", info.header_offset)
    kind = dtype.name if dtype.kind == "f" else dtype.str.lstrip("|")
    return StoredTensor(shape, kind, partial(_read, file, info, dtype, shape, "F" if by_columns else "C"))


def _read(file: Path, info: zipfile.ZipInfo, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> np.ndarray:
    try:
        with zipfile.ZipFile(file) as archive:
            raw = archive.read(info)
    except _MALFORMED as error:
        raise FileFormatError(file, f"{info.filename!r:.80}: {error}", info.header_offset) from None
    size = math.prod(shape) * dtype.itemsize
    return np.frombuffer(raw, dtype, offset=len(raw) - size).reshape(shape, order=order)


def _json(file: Path, name: str, text: StoredTensor) -> Any:
    if text.size != 1 or not text.dtype.startswith("S"):
        raise FileFormatError(
            file, f"{name} must be a text in UTF-8, as NumPy's bytes; it is {text.dtype} {text.shape}"
        )
    return parse_json(unpacked(text.make()).item(), file)


def _tokenizer(file: Path, text: StoredTensor) -> Any:
    return tokenizer_of_fields(_json(file, TOKENIZER, text), file)


def _refusal(file: Path, error: Exception) -> str:
    with open(file, "rb") as opened:
        start = opened.read(32)
    kind = None if start.startswith(b"PK") else other_kind(start)
    return f"is {kind}" if kind else f"is no npz file: {error or type(error).__name__}"
