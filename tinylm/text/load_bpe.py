"""A byte-level BPE in tokenizer.json, as GPT-2's and those that Hugging Face's `tokenizers` trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from .bpe import AddedToken, BPETokenizer
from .hugging_face import BYTE_CHARACTERS, MODEL_OPTIONS, byte_level_text
from .strict import check_keys, is_same, read_model

__all__ = ["is_plain_bpe", "read_bpe"]

BYTES = {character: bytes([byte]) for byte, character in enumerate(BYTE_CHARACTERS)}
BYTE_LEVEL_FIELDS = {"type", "add_prefix_space", "trim_offsets", "use_regex"}
ADDED_FIELDS = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
NEEDS_CARE = ("single_word", "lstrip", "rstrip")
TEXT_ALONE = [{"Sequence": {"id": "A", "type_id": 0}}]
# What a model does with a byte that is not in its vocabulary: no matter where all are.
UNKNOWN_BYTES = ("unk_token", "fuse_unk", "byte_fallback")


def is_plain_bpe(fields: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is a byte-level BPE with GPT-2's split and nothing else, as `BPETokenizer` is."""
    return (
        _is_byte_level(fields.get("pre_tokenizer"))
        and _is_byte_level(fields.get("decoder"))
        and is_same(fields["pre_tokenizer"].get("use_regex", True), True)
        and type(fields["pre_tokenizer"].get("add_prefix_space")) is bool
        and all(fields.get(part) is None for part in ("truncation", "padding", "normalizer"))
        and _adds_nothing(fields.get("post_processor"))
        and _is_plain_model(fields.get("model"))
        and _are_plain_added(fields.get("added_tokens", []))
    )


def _is_byte_level(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "ByteLevel" and part.keys() <= BYTE_LEVEL_FIELDS


def _adds_nothing(post_processor: Any) -> bool:
    """Whether it leaves the ids alone: ByteLevel moves only the places in the text that they stand for."""
    if not isinstance(post_processor, dict):
        return post_processor is None
    kind = post_processor.get("type")
    return kind == "ByteLevel" or (kind == "TemplateProcessing" and is_same(post_processor.get("single"), TEXT_ALONE))


def _is_plain_model(model: Any) -> bool:
    """Whether it is a BPE that merges bytes and knows nothing else."""
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE" or not isinstance(model.get("vocab"), dict):
        return False
    has_all_bytes = model["vocab"].keys() >= BYTES.keys()
    return all(
        (name in UNKNOWN_BYTES and has_all_bytes)
        or (default is None and model.get(name) == "")
        or is_same(model.get(name, default), default)
        for name, default in MODEL_OPTIONS.items()
    )


def _are_plain_added(entries: Any) -> bool:
    """Whether each added token is found wherever its text stands, and whatever others there are."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return False
    first = [entry.get("content") for entry in entries if entry.get("normalized") is not True]
    second = [entry.get("content") for entry in entries if entry.get("normalized") is True]
    return all(type(text) is str for text in [*first, *second]) and not (
        any(entry.get(name, False) is not False for entry in entries for name in NEEDS_CARE)
        or any(_can_overlap(a, b) for a in first for b in second)
    )


def read_bpe(file: Path, fields: dict[str, Any]) -> BPETokenizer:
    """The tokenizer in the fields of a plain tokenizer.json. Raises TinylmError for what makes none."""
    vocab, merges = read_model(file, fields["model"], MODEL_OPTIONS)
    added = _added_tokens(file, fields.get("added_tokens", []))
    for token in added:
        if vocab.setdefault(token.text, token.id) != token.id:
            raise FileFormatError(file, f"added token {token.text!r} has id {token.id}, in vocab {vocab[token.text]}")
    texts = {token.text for token in added}
    tokens = [b""] * len(vocab)
    for text, id in vocab.items():
        if not 0 <= id < len(vocab) or tokens[id]:
            raise FileFormatError(file, f"the ids must be 0..{len(vocab) - 1}, each once; {text!r:.40} has {id}")
        tokens[id] = _added_bytes(file, text) if text in texts else _token_bytes(file, text)
    pairs = [_merge(file, number, merge, vocab) for number, merge in enumerate(merges)]
    return BPETokenizer(tokens, pairs, added=added, prefix_space=fields["pre_tokenizer"]["add_prefix_space"])


def _added_tokens(file: Path, entries: list[dict[str, Any]]) -> list[AddedToken]:
    for entry in entries:
        check_keys(file, "an added token", entry, ADDED_FIELDS)
        id, text = entry.get("id"), entry.get("content")
        if type(id) is not int or type(text) is not str or not text:
            raise FileFormatError(file, f"an added token needs a whole number as id and a content, not {entry!r:.80}")
    return [AddedToken(entry["content"], entry["id"], entry.get("special") is True) for entry in entries]


def _can_overlap(a: str, b: str) -> bool:
    """Whether an occurrence of one can share a character with one of the other."""
    ends = range(1, min(len(a), len(b)))
    return a in b or b in a or any(a.endswith(b[:n]) or b.endswith(a[:n]) for n in ends)


def _added_bytes(file: Path, text: str) -> bytes:
    """UTF-8, unless the vocabulary could mean other bytes by it."""
    raw = text.encode("utf-8")
    if byte_level_text(raw) != text and all(character in BYTES for character in text):
        raise FileFormatError(file, f"the added token {text!r} could be text or the spelling of bytes")
    return raw


def _token_bytes(file: Path, text: str) -> bytes:
    if not text:
        raise FileFormatError(file, "the vocabulary holds an empty token")
    try:
        return b"".join([BYTES[character] for character in text])
    except KeyError as error:
        raise FileFormatError(file, f"the token {text!r:.40} holds {error.args[0]!r}, which spells no byte") from None


def _merge(file: Path, number: int, merge: Any, vocab: dict[str, int]) -> tuple[int, int]:
    """The ids of a merge, written "left right" or ["left", "right"]."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2:
        raise FileFormatError(file, f"merge {number} must be two tokens, not {merge!r:.60}")
    for part in parts:
        if not isinstance(part, str) or part not in vocab:
            raise FileFormatError(file, f"merge {number}, {merge!r:.60}: {part!r:.40} is not in the vocabulary")
    return vocab[parts[0]], vocab[parts[1]]
