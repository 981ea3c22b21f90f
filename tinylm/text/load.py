"""tokenizer.json to a tokenizer, strictly: a file that would mean something else to us is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, TinylmError
from ..files import read_json
from .base import Tokenizer
from .bytes import ByteTokenizer
from .chars import CharTokenizer
from .gguf import from_gguf_fields
from .hugging_face import BYTE_CHARACTERS, BYTE_LEVEL, FUSE, MODEL_OPTIONS
from .load_bpe import is_plain_bpe, read_bpe
from .marian import SOURCE, load_marian
from .pipeline import PipelineTokenizer
from .sentencepiece import read_sentencepiece
from .strict import check_keys, is_same, read_model
from .tokenizer_config import read_tokenizer_config
from .vocabulary_files import fields_of_merges, fields_of_vocab_txt

__all__ = ["find_tokenizer_file", "load_tokenizer", "tokenizer_of_fields"]

PARTS = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a tokenizer.json, in the older files of BERT, GPT-2 or SentencePiece, or in a folder with one.

    What our tokenizers write comes back as what it was; any other file is read component by component. Raises
    FileFormatError naming the file and the first part that is malformed or not supported.
    """
    file = Path(path)
    if file.is_dir():
        file = find_tokenizer_file(file) or file / "tokenizer.json"
    if file.name == SOURCE:
        return load_marian(file.parent)
    if file.suffix == ".model":
        return from_gguf_fields(read_sentencepiece(file), file=str(file))
    fields = FILES.get(file.name, read_json)(file)
    return tokenizer_of_fields(fields, file)


def find_tokenizer_file(folder: str | os.PathLike[str]) -> Path | None:
    """The file in a folder that `load_tokenizer` would read; None where there is none."""
    return next((Path(folder) / name for name in (*FILES, SOURCE) if (Path(folder) / name).exists()), None)


def tokenizer_of_fields(fields: Any, path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that the content of a tokenizer.json describes, wherever it is from. path: for messages."""
    file = Path(path)
    check_keys(file, "the file", fields, {"version", "added_tokens", "model", *PARTS})
    try:
        tokenizer = _of_kind(file, fields)
        tokenizer.config = read_tokenizer_config(file.parent)
        return tokenizer
    except FileFormatError:
        raise
    except TinylmError as error:
        raise FileFormatError(file, str(error)) from None


def _of_merges(file: Path) -> dict[str, Any]:
    return fields_of_merges(file.with_name("vocab.json"), file)


def _of_vocab_txt(file: Path) -> dict[str, Any]:
    return fields_of_vocab_txt(file, lowercase=read_tokenizer_config(file.parent).lowercase)


# How the files that a folder may hold are read, in the order in which they are looked for; .model is SentencePiece's.
FILES: dict[str, Callable[[Path], Any]] = {
    "tokenizer.json": read_json,
    "merges.txt": _of_merges,
    "vocab.txt": _of_vocab_txt,
    "spiece.model": read_sentencepiece,
    "tokenizer.model": read_sentencepiece,
    "sentencepiece.bpe.model": read_sentencepiece,
}


def _of_kind(file: Path, fields: dict[str, Any]) -> Tokenizer:
    if _is_alphabet(fields, None, FUSE):
        return CharTokenizer(_characters(file, fields))
    if _is_alphabet(fields, BYTE_LEVEL, BYTE_LEVEL):
        if "".join(_characters(file, fields)) != BYTE_CHARACTERS:
            raise FileFormatError(file, "a byte-level vocab must hold the 256 bytes, each with itself as its id")
        return ByteTokenizer()
    if is_plain_bpe(fields):
        return read_bpe(file, fields)
    return PipelineTokenizer(fields, file=str(file), config=read_tokenizer_config(file.parent))


def _is_alphabet(fields: dict[str, Any], pre_tokenizer: Any, decoder: Any) -> bool:
    """Whether the tokens are the letters of an alphabet: a BPE that joins none of them, with these parts alone."""
    model = fields.get("model")
    expected = {"pre_tokenizer": pre_tokenizer, "decoder": decoder}
    return (
        isinstance(model, dict)
        and all(is_same(fields.get(name), expected.get(name)) for name in PARTS)
        and fields.get("added_tokens", []) == []
        and model.get("type", "BPE") == "BPE"
        and model.get("merges") == []
        and all(is_same(model.get(name, default), default) for name, default in MODEL_OPTIONS.items())
    )


def _characters(file: Path, fields: dict[str, Any]) -> list[str]:
    """The vocabulary of single characters in the order of their ids."""
    vocab, _ = read_model(file, fields["model"], MODEL_OPTIONS)
    for token in vocab:
        if len(token) != 1:
            raise FileFormatError(file, f"the token {token!r:.40} is not one character, and there are no merges")
    tokens = sorted(vocab, key=vocab.__getitem__)
    for expected, token in enumerate(tokens):
        if vocab[token] != expected:
            raise FileFormatError(file, f"the ids must be 0..{len(vocab) - 1}; {token!r} has {vocab[token]!r:.40}")
    return tokens
