"""How BLEU splits sentences into tokens, by sacrebleu's names: scores are comparable only within one of them."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import regex

from ..errors import TinylmError, nearest

__all__ = ["TOKENIZERS", "tokenizer"]

# Every ASCII symbol, and the space, but for those that depend on what stands beside them.
_SYMBOL = re.compile("([ " + re.escape(re.sub("[',.-]", "", string.punctuation)) + "])")
_WESTERN = [
    (_SYMBOL, r" \1 "),
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
]
_INTERNATIONAL = [
    (regex.compile(r"(\P{N})(\p{P})"), r"\1 \2 "),
    (regex.compile(r"(\p{P})(\P{N})"), r" \1 \2"),
    (regex.compile(r"(\p{S})"), r" \1 "),
]
_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}

# First and last code points of what sacrebleu's "zh" takes for Chinese. It means U+20000 to U+2A6D6 and U+2F800 to
# U+2FA1D, but writes them so that Python reads four digits: U+2001 to U+2A6D and U+2F81 to U+2FA1. So does this table,
# as the scores are to be the same.
_CHINESE_RANGES = (
    "2001-2A6D 2E80-2FDF 2FF0-303F 3100-312F 31A0-31BF 31C0-31EF 3200-33FF 3400-4DB5 4E00-9FBB F900-FA2D FA30-FA6A "
    "FA70-FAD9 FE10-FE1F FE30-FE4F FF00-FFEF"
)
_CHINESE = re.compile(
    "([" + "".join("-".join(chr(int(end, 16)) for end in pair.split("-")) for pair in _CHINESE_RANGES.split()) + "])"
)


def _substitute(rules: list[tuple[re.Pattern[str], str]], text: str) -> list[str]:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text.split()


def _13a(text: str) -> list[str]:
    """Of mteval-v13a, what WMT uses for Western languages."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return _substitute(_WESTERN, f" {text} ")


def _zh(text: str) -> list[str]:
    """Each Chinese character by itself, what lies between as in 13a."""
    return _substitute(_WESTERN, _CHINESE.sub(r" \1 ", text.strip()))


def _intl(text: str) -> list[str]:
    """Of mteval-v14: Unicode's punctuation and symbols stand by themselves, but for punctuation between digits."""
    return _substitute(_INTERNATIONAL, text)


def _char(text: str) -> list[str]:
    """Each character that is not white space."""
    return list("".join(text.split()))


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "13a": _13a,
    "zh": _zh,
    "intl": _intl,
    "char": _char,
    "none": str.split,
}


def tokenizer(name: str) -> Callable[[str], list[str]]:
    """By its name. Raises TinylmError for one that does not exist."""
    if name not in TOKENIZERS:
        raise TinylmError(f"unknown tokenizer {name!r} for BLEU{nearest(name, TOKENIZERS)}")
    return TOKENIZERS[name]
