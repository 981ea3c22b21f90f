"""tokenizer.json to a tokenizer, strictly: a file that would mean something else to us is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..files import read_json
from .base import Tokenizer
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .hugging_face import BYTE_CHARACTERS, BYTE_LEVEL, FUSE, MODEL_OPTIONS, NULL_PARTS

__all__ = ["load_tokenizer"]


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a tokenizer.json, or in a folder that holds one.

    Reads what `CharTokenizer` and `ByteTokenizer` write, also after Hugging Face's `tokenizers` has saved it
    again. Raises FileFormatError naming the file and the first part that is malformed or not supported.
    """
    file = Path(path)
    file = file / "tokenizer.json" if file.is_dir() else file
    fields = read_json(file)
    _check_keys(
        file,
        "the file",
        fields,
        {"version", "added_tokens", "pre_tokenizer", "decoder", "model", *NULL_PARTS},
    )
    for part in NULL_PARTS:
        if fields.get(part) is not None:
            raise FileFormatError(file, f"{part} {_type_of(fields[part])} is not supported")
    if fields.get("added_tokens", []) != []:
        raise FileFormatError(file, f"added_tokens are not supported: {fields['added_tokens']!r:.80}")
    characters = _characters(file, fields.get("model"))
    return _of_kind(file, characters, fields.get("pre_tokenizer"), fields.get("decoder"))


def _of_kind(file: Path, characters: str, pre_tokenizer: Any, decoder: Any) -> Tokenizer:
    if pre_tokenizer is None and _same(decoder, FUSE):
        try:
            return CharTokenizer(characters)
        except ValueError as error:
            raise FileFormatError(file, str(error)) from None
    if _same(pre_tokenizer, BYTE_LEVEL) and isinstance(decoder, dict) and decoder.get("type") == "ByteLevel":
        if characters != BYTE_CHARACTERS:
            raise FileFormatError(file, "a byte-level vocab must hold the 256 bytes, each with itself as its id")
        return ByteTokenizer()
    raise FileFormatError(
        file,
        f"pre_tokenizer {_type_of(pre_tokenizer)} with decoder {_type_of(decoder)} is not supported: "
        "expected none and Fuse (characters), or ByteLevel without prefix space and regex twice (bytes)",
    )


def _characters(file: Path, model: Any) -> str:
    """The vocabulary of the model in the order of its ids."""
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise FileFormatError(file, f"model {_type_of(model)} is not supported; expected BPE without merges")
    _check_keys(file, "model", model, {"type", "vocab", "merges", *MODEL_OPTIONS})
    for option, default in MODEL_OPTIONS.items():
        if model.get(option, default) is not default:
            raise FileFormatError(file, f"model option {option} = {model[option]!r:.40} is not supported")
    if model.get("merges") != []:
        raise FileFormatError(file, "a model with merges is not supported; expected BPE with merges = []")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict):
        raise FileFormatError(file, f"vocab must be an object of ids by token, not {vocab!r:.40}")
    for token, id in vocab.items():
        if type(id) is not int:  # True is an int to isinstance
            raise FileFormatError(file, f"the id of {token!r:.40} must be a whole number, not {id!r:.40}")
        if len(token) != 1:
            raise FileFormatError(file, f"the token {token!r:.40} is not one character, and there are no merges")
    tokens = sorted(vocab, key=vocab.__getitem__)
    for expected, token in enumerate(tokens):
        if vocab[token] != expected:
            raise FileFormatError(file, f"the ids must be 0..{len(vocab) - 1}; {token!r} has {vocab[token]!r:.40}")
    return "".join(tokens)


def _check_keys(file: Path, what: str, fields: Any, known: set[str]) -> None:
    if not isinstance(fields, dict):
        raise FileFormatError(file, f"{what} must be a JSON object, not {fields!r:.40}")
    if unknown := sorted(set(fields) - known):
        raise FileFormatError(file, f"{what} has the unknown field {unknown[0]!r:.40}")


def _same(part: Any, expected: dict[str, Any]) -> bool:
    """Equal to the types: 0 is not false."""
    return json.dumps(part, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _type_of(part: Any) -> str:
    """What to call a part in a message: its type where it has one."""
    return repr(part.get("type", part) if isinstance(part, dict) else part)[:80]
