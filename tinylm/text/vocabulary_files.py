"""The older files of a tokenizer: vocab.txt of BERT, vocab.json and merges.txt of GPT-2."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tinylm.errors import FileFormatError
from tinylm.files import read_json

from .bpe import END_OF_TEXT
from .hugging_face import MODEL_OPTIONS
from .pipeline.compose import added_token, bert_parts, bpe, byte_level_parts, compose

__all__ = ["BERT_SPECIAL", "bert_fields", "fields_of_merges", "fields_of_vocab_txt"]

BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_BYTES = 1 << 26


def fields_of_vocab_txt(file: str | os.PathLike[str], *, lowercase: bool = True) -> dict[str, Any]:
    """The tokenizer.json that a BERT's vocab.txt stands for: a token a line, its place is its id.

    lowercase: whether the model knows small letters alone; accents go with the capitals. Raises FileFormatError.
    """
    vocab: dict[str, int] = {}
    for line, token in enumerate(_lines(Path(file)), 1):
        if vocab.setdefault(token, len(vocab)) != line - 1:
            raise FileFormatError(file, f"the token {token!r:.60} appears twice", line=line)
    if missing := [token for token in BERT_SPECIAL[1:4] if token not in vocab]:
        raise FileFormatError(file, f"lacks {', '.join(missing)}: expected the vocabulary of a BERT, a token a line")
    return bert_fields(vocab, lowercase=lowercase)


def bert_fields(vocab: dict[str, int], *, lowercase: bool) -> dict[str, Any]:
    """The tokenizer.json of a BERT with these tokens, the special ones among them."""
    return {
        **bert_parts(vocab, unknown="[UNK]", lowercase=lowercase),
        "added_tokens": [added_token(vocab[token], token, special=True) for token in BERT_SPECIAL if token in vocab],
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", vocab["[SEP]"]],
            "cls": ["[CLS]", vocab["[CLS]"]],
        },
    }


def fields_of_merges(vocab: str | os.PathLike[str], merges: str | os.PathLike[str]) -> dict[str, Any]:
    """The tokenizer.json of a byte-level BPE with GPT-2's split, from ids by token (JSON) and a merge a line.

    `<|endoftext|>`, where it is in the vocabulary, is a special token. Raises FileFormatError.
    """
    ids = read_json(vocab)
    if not isinstance(ids, dict):
        raise FileFormatError(vocab, f"must be an object of ids by token, not {ids!r:.60}")
    pairs = []
    for line, text in enumerate(_lines(Path(merges)), 1):
        if not text or (line == 1 and text.startswith("#version")):
            continue
        halves = text.split(" ")
        if len(halves) != 2:
            raise FileFormatError(merges, f"expected two tokens with a space between, not {text!r:.60}", line=line)
        pairs.append((halves[0], halves[1]))
    added = [added_token(ids[END_OF_TEXT], END_OF_TEXT, special=True)] if END_OF_TEXT in ids else []
    return compose(bpe(ids, pairs, **MODEL_OPTIONS), added_tokens=added, **byte_level_parts(None))


def _lines(file: Path) -> list[str]:
    """The lines of a text file, without what ends them."""
    if not file.is_file():
        raise FileFormatError(file, "there is no such file")
    raw = file.read_bytes()
    if len(raw) > MAX_BYTES:
        raise FileFormatError(file, f"more than {MAX_BYTES:,} bytes: too large for a vocabulary")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise FileFormatError(file, "not UTF-8 text", error.start) from None
