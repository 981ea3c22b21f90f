"""Whether a text may be cut before a space, so that the ids of both parts are those of the whole."""

from __future__ import annotations

from itertools import dropwhile
from typing import Any

from .patterns import SPLITS

__all__ = ["cuts_at_spaces"]

# What these do to a character depends on its neighbours at most as far as the next space.
NORMALIZERS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "BertNormalizer", "Nmt", "Precompiled"}
CUTTERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}  # a space ends a word
NEUTRAL = {"Digits", "Punctuation"}
ONE_BY_ONE = ("isolated", "removed", "contiguous")  # a match does not join what follows it


def cuts_at_spaces(fields: dict[str, Any]) -> bool:
    """Whether each component of a tokenizer.json, which has been read, leaves both sides of such a cut alone."""
    normalizers = _flat(fields.get("normalizer"), "normalizers")
    steps = dropwhile(_is_neutral, _flat(fields.get("pre_tokenizer"), "pretokenizers"))
    first = next(steps, None)  # what comes after it sees one word at a time
    return all(part["type"] in NORMALIZERS for part in normalizers) and first is not None and _ends_words(first)


def _flat(part: Any, name: str) -> list[dict[str, Any]]:
    """The components of a sequence, or the one there is."""
    if part is None:
        return []
    return [leaf for inner in part[name] for leaf in _flat(inner, name)] if part["type"] == "Sequence" else [part]


def _ends_words(step: dict[str, Any]) -> bool:
    """Whether a space that follows a letter or digit is never in one word with it."""
    kind = step["type"]
    if kind == "Metaspace":
        return step.get("split", True)
    if kind == "ByteLevel":
        return step.get("use_regex", True)
    if kind == "Split":
        pattern = step["pattern"]
        known = isinstance(pattern, dict) and pattern.get("Regex") in SPLITS.values()
        return known and step["behavior"].lower() in ("isolated", "removed")
    return kind in CUTTERS


def _is_neutral(step: dict[str, Any]) -> bool:
    return step["type"] in NEUTRAL and step.get("behavior", "Isolated").lower() in ONE_BY_ONE
