"""tokenizer.json to a tokenizer, strictly: a file that would mean something else to us is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, TinylmError
from ..files import read_json
from .base import Tokenizer
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .hugging_face import BYTE_CHARACTERS, BYTE_LEVEL, FUSE, MODEL_OPTIONS
from .load_bpe import read_bpe
from .strict import check_keys, check_options, is_same, read_model, type_of

__all__ = ["load_tokenizer"]

PARTS = ("truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model")


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a tokenizer.json, or in a folder that holds one.

    Reads what our tokenizers write, also after Hugging Face's `tokenizers` has saved it again, and the byte-level BPE
    with GPT-2's split that it writes itself. Raises FileFormatError naming the file and the first part that is
    malformed or not supported.
    """
    file = Path(path)
    file = file / "tokenizer.json" if file.is_dir() else file
    fields = read_json(file)
    check_keys(file, "the file", fields, {"version", *PARTS})
    for part in ("truncation", "padding", "normalizer"):
        if fields.get(part) is not None:
            raise FileFormatError(file, f"{part} {type_of(fields[part])} is not supported")
    try:
        return _of_kind(file, fields)
    except FileFormatError:
        raise
    except TinylmError as error:
        raise FileFormatError(file, str(error)) from None


def _of_kind(file: Path, fields: dict[str, Any]) -> Tokenizer:
    pre_tokenizer, decoder = fields.get("pre_tokenizer"), fields.get("decoder")
    if pre_tokenizer is None and is_same(decoder, FUSE):
        return CharTokenizer(_characters(file, fields))
    kinds = [part.get("type") if isinstance(part, dict) else None for part in (pre_tokenizer, decoder)]
    if kinds == ["ByteLevel", "ByteLevel"]:
        if not is_same(pre_tokenizer, BYTE_LEVEL):
            return read_bpe(file, fields)
        if "".join(_characters(file, fields)) != BYTE_CHARACTERS:
            raise FileFormatError(file, "a byte-level vocab must hold the 256 bytes, each with itself as its id")
        return ByteTokenizer()
    raise FileFormatError(
        file,
        f"pre_tokenizer {type_of(pre_tokenizer)} with decoder {type_of(decoder)} is not supported: "
        "expected none and Fuse (characters), or ByteLevel and ByteLevel (bytes, byte-level BPE)",
    )


def _characters(file: Path, fields: dict[str, Any]) -> list[str]:
    """The vocabulary of single characters in the order of their ids, of a model that merges nothing."""
    if fields.get("post_processor") is not None:
        raise FileFormatError(file, f"post_processor {type_of(fields['post_processor'])} is not supported")
    vocab, merges = read_model(file, fields.get("model"), MODEL_OPTIONS)
    check_options(file, "model option", fields["model"], MODEL_OPTIONS)
    if merges:
        raise FileFormatError(file, "merges without a split into words are not supported; expected merges = []")
    if fields.get("added_tokens", []) != []:
        raise FileFormatError(file, f"added_tokens are not supported here: {fields['added_tokens']!r:.80}")
    for token in vocab:
        if len(token) != 1:
            raise FileFormatError(file, f"the token {token!r:.40} is not one character, and there are no merges")
    tokens = sorted(vocab, key=vocab.__getitem__)
    for expected, token in enumerate(tokens):
        if vocab[token] != expected:
            raise FileFormatError(file, f"the ids must be 0..{len(vocab) - 1}; {token!r} has {vocab[token]!r:.40}")
    return tokens
