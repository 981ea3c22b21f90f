"""tokenizer.json put together from the parts that other files hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "added_token",
    "adding",
    "bert_parts",
    "bpe",
    "byte_level_parts",
    "compose",
    "merges_by_score",
    "sentencepiece_parts",
]

MARK = "▁"  # what SentencePiece writes for a space


def compose(model: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """The fields of a tokenizer.json; parts: what it has beside the model, by name."""
    names = ("truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    empty: dict[str, Any] = {name: [] if name == "added_tokens" else None for name in names}
    return {"version": "1.0", **empty, **parts, "model": model}


def added_token(id: int, text: str, *, special: bool) -> dict[str, Any]:
    """An added token that is found wherever its text stands."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return {"id": id, "content": text, **flags}


def bpe(vocab: Mapping[str, int], merges: Iterable[tuple[str, str]], **options: Any) -> dict[str, Any]:
    """A BPE model; options: what differs from the plain one."""
    return {"type": "BPE", **options, "vocab": dict(vocab), "merges": [list(merge) for merge in merges]}


def byte_level_parts(pattern: str | None, *, digits: bool = False) -> dict[str, Any]:
    """How a byte-level BPE cuts and joins: by a pattern, or GPT-2's where None; digits: each is a word of its own."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pattern is None}
    steps: list[dict[str, Any]] = [byte_level]
    if pattern is not None:
        steps.insert(0, {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
    if digits:
        steps.insert(0, {"type": "Digits", "individual_digits": True})
    whole = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
    return {"pre_tokenizer": whole, "decoder": {**byte_level, "use_regex": True}}


def bert_parts(vocab: Mapping[str, int], *, unknown: str, lowercase: bool) -> dict[str, Any]:
    """A WordPiece that cleans and cuts as BERT does. What it adds to texts is another matter."""
    model = {
        "type": "WordPiece",
        "unk_token": unknown,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": dict(vocab),
    }
    return compose(
        model,
        normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": lowercase},
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
    )


def sentencepiece_parts(*, prefix: bool) -> dict[str, Any]:
    """How SentencePiece's BPE reads and writes spaces; prefix: a text gets one before it, which decoding takes away."""
    marks: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
    spaces: dict[str, Any] = {"type": "Replace", "pattern": {"String": MARK}, "content": " "}
    steps = [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
        marks = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": MARK}, marks]}
    return {"normalizer": marks, "decoder": {"type": "Sequence", "decoders": steps}}


def adding(before: Iterable[tuple[str, int]], after: Iterable[tuple[str, int]]) -> dict[str, Any] | None:
    """A post-processor that puts tokens, each a text and its id, around every text; None for none of them."""
    before, after = list(before), list(after)
    if not before and not after:
        return None

    def around(text: str, type_id: int) -> list[dict[str, Any]]:
        special = [[{"SpecialToken": {"id": name, "type_id": type_id}} for name, _ in part] for part in (before, after)]
        return [*special[0], {"Sequence": {"id": text, "type_id": type_id}}, *special[1]]

    return {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": around("A", 0) + around("B", 1),
        "special_tokens": {name: {"id": name, "ids": [id], "tokens": [name]} for name, id in [*before, *after]},
    }


def merges_by_score(scores: Mapping[str, float], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """The merges of a vocabulary that says which token is preferred: all that make one, the best first.

    scores: of the tokens that merges may make; ids: of all. Of merges that make the same token, those of earlier ones
    come first.
    """
    found = []
    for token, score in scores.items():
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        halves = [(ids[left], ids[right], left, right) for left, right in cuts if left in ids and right in ids]
        found += [(-score, left, right) for _, _, left, right in sorted(halves)]
    found.sort(key=lambda merge: merge[0])
    return [(left, right) for _, left, right in found]
