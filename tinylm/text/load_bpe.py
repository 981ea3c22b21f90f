"""A byte-level BPE in tokenizer.json, as GPT-2's and those that Hugging Face's `tokenizers` trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from .bpe import AddedToken, BPETokenizer
from .hugging_face import BYTE_CHARACTERS, MODEL_OPTIONS, byte_level_text
from .strict import check_keys, check_options, is_same, read_model, type_of

__all__ = ["read_bpe"]

BYTES = {character: bytes([byte]) for byte, character in enumerate(BYTE_CHARACTERS)}
BYTE_LEVEL_FIELDS = ("type", "add_prefix_space", "trim_offsets", "use_regex")
ADDED_FIELDS = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")
NOT_SUPPORTED = {"single_word": False, "lstrip": False, "rstrip": False}
TEXT_ALONE = [{"Sequence": {"id": "A", "type_id": 0}}]
# What a model does with a byte that is not in its vocabulary: no matter where all are.
UNKNOWN_BYTES = ("unk_token", "fuse_unk", "byte_fallback")


def read_bpe(file: Path, fields: dict[str, Any]) -> BPETokenizer:
    """The tokenizer in the fields of a tokenizer.json whose pre-tokenizer and decoder are ByteLevel.

    Raises TinylmError for what makes no tokenizer, FileFormatError for what it would be another than ours.
    """
    _check_parts(file, fields)
    vocab, merges = read_model(file, fields.get("model"), MODEL_OPTIONS)
    added = _added_tokens(file, fields.get("added_tokens", []))
    _check_model_options(file, fields["model"], vocab)
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


def _check_parts(file: Path, fields: dict[str, Any]) -> None:
    pre_tokenizer, post_processor = fields["pre_tokenizer"], fields.get("post_processor")
    if post_processor is not None and not _adds_nothing(post_processor):
        raise FileFormatError(file, f"post_processor {type_of(post_processor)} is not supported")
    for name, part in (("pre_tokenizer", pre_tokenizer), ("decoder", fields["decoder"])):
        check_keys(file, name, part, BYTE_LEVEL_FIELDS)
    check_options(file, "pre_tokenizer ByteLevel with", pre_tokenizer, {"use_regex": True})
    if type(pre_tokenizer.get("add_prefix_space")) is not bool:
        raise FileFormatError(file, "pre_tokenizer ByteLevel needs add_prefix_space, true or false")


def _adds_nothing(post_processor: Any) -> bool:
    """Whether it leaves the ids alone: ByteLevel moves only the places in the text that they stand for."""
    if not isinstance(post_processor, dict):
        return False
    kind = post_processor.get("type")
    return kind == "ByteLevel" or (kind == "TemplateProcessing" and is_same(post_processor.get("single"), TEXT_ALONE))


def _check_model_options(file: Path, model: dict[str, Any], vocab: dict[str, int]) -> None:
    for name, default in MODEL_OPTIONS.items():
        value = model.get(name, default)
        harmless = (name in UNKNOWN_BYTES and vocab.keys() >= BYTES.keys()) or (default is None and value == "")
        if not harmless and not is_same(value, default):
            raise FileFormatError(file, f"model option {name} = {value!r:.40} is not supported")


def _added_tokens(file: Path, entries: Any) -> list[AddedToken]:
    if not isinstance(entries, list):
        raise FileFormatError(file, f"added_tokens must be a list, not {entries!r:.40}")
    for entry in entries:
        check_keys(file, "an added token", entry, ADDED_FIELDS)
        id, text = entry.get("id"), entry.get("content")
        if type(id) is not int or type(text) is not str or not text:
            raise FileFormatError(file, f"an added token needs a whole number as id and a content, not {entry!r:.80}")
        check_options(file, f"added token {text!r:.40}: the option", entry, NOT_SUPPORTED)
    first = [entry["content"] for entry in entries if entry.get("normalized") is not True]
    second = [entry["content"] for entry in entries if entry.get("normalized") is True]
    for a, b in ((a, b) for a in first for b in second):
        if _can_overlap(a, b):
            raise FileFormatError(
                file,
                f"the added tokens {a!r} and {b!r} overlap, and one is 'normalized': "
                "which is found first is not supported",
            )
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
