"""Cutting a text into words, which a model then encodes one by one: by the name of their type in tokenizer.json.

Source: https://huggingface.co/docs/tokenizers, components, pre-tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..hugging_face import byte_level_text
from .part import Part, build
from .patterns import SPLITS, WORD, compile_pattern, read_pattern

__all__ = ["PreTokenizer", "read_pre_tokenizer"]

# The words of a text. at_start: the text begins a whole text, and does not follow an added token or another word.
PreTokenizer = Callable[[str, bool], list[str]]
Stretch = tuple[str, bool]  # and whether the pattern matched it


def read_pre_tokenizer(part: Part) -> list[PreTokenizer]:
    """The functions that a component describes, each to be applied to the words of the one before it."""
    return build(part, BUILDERS)


def _sequence(part: Part) -> list[PreTokenizer]:
    return [function for inner in part.parts("pretokenizers") for function in read_pre_tokenizer(inner)]


def _byte_level(part: Part) -> list[PreTokenizer]:
    """Words by GPT-2's pattern where use_regex says so, spelt in the characters that stand for bytes."""
    prefix = part.flag("add_prefix_space", True)
    part.flag("trim_offsets", True)
    steps: list[PreTokenizer] = []
    if prefix:
        steps.append(lambda text, at_start: [text if text.startswith(" ") else " " + text])
    if part.flag("use_regex", True):
        find = compile_pattern(part, SPLITS["gpt2"]).findall
        steps.append(lambda text, at_start: find(text))
    return [*steps, lambda text, at_start: [byte_level_text(text.encode())]]


def _metaspace(part: Part) -> list[PreTokenizer]:
    """Spaces become a visible mark, which each word begins with.

    prepend_scheme: whether a text that begins without one gets one: always, the first of all alone, or never.
    """
    mark = part.character("replacement", "▁")
    scheme = part.any("prepend_scheme", None)
    if scheme is None:  # older files say it by add_prefix_space
        scheme = "always" if part.flag("add_prefix_space", True) else "never"
    else:
        scheme = part.choice("prepend_scheme", ("always", "first", "never"))
        part.any("add_prefix_space", None)
    part.any("str_rep", None)
    split = part.flag("split", True)
    find = compile_pattern(part, f"[{_escape(mark)}][^{_escape(mark)}]*|[^{_escape(mark)}]+").findall

    def cut(text: str, at_start: bool) -> list[str]:
        text = text.replace(" ", mark)
        if (scheme == "always" or (scheme == "first" and at_start)) and text and not text.startswith(mark):
            text = mark + text
        return find(text) if split else [text]

    return [cut]


def _escape(character: str) -> str:
    return "\\" + character if character in r"\^]-[" else character


def _split(part: Part) -> list[PreTokenizer]:
    pattern = read_pattern(part)
    behavior = BEHAVIORS[part.choice("behavior", BEHAVIORS)]
    return [_by_pattern(pattern, behavior, invert=part.flag("invert", False))]


def _digits(part: Part) -> list[PreTokenizer]:
    digits = compile_pattern(part, r"\p{N}" if part.flag("individual_digits", False) else r"\p{N}+")
    return [_by_pattern(digits, _isolated)]


def _punctuation(part: Part) -> list[PreTokenizer]:
    behavior = BEHAVIORS[part.choice("behavior", BEHAVIORS, "Isolated")]
    return [_by_pattern(compile_pattern(part, PUNCTUATION), behavior)]


PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"


def _words(part: Part) -> list[PreTokenizer]:
    find = compile_pattern(part, rf"[{WORD}]+|[^{WORD}\s]+").findall
    return [lambda text, at_start: find(text)]


def _bert(part: Part) -> list[PreTokenizer]:
    find = compile_pattern(part, rf"{PUNCTUATION}|[^!-/:-@\[-`{{-~\p{{P}}\p{{White_Space}}]+").findall
    return [lambda text, at_start: find(text)]


def _white_space(part: Part) -> list[PreTokenizer]:
    find = compile_pattern(part, r"\P{White_Space}+").findall
    return [lambda text, at_start: find(text)]


def _character(part: Part) -> list[PreTokenizer]:
    delimiter = part.character("delimiter")
    return [lambda text, at_start: [word for word in text.split(delimiter) if word]]


def _fixed_length(part: Part) -> list[PreTokenizer]:
    length = part.whole("length", 5, least=1)
    return [lambda text, at_start: [text[start : start + length] for start in range(0, len(text), length)]]


def _by_pattern(
    pattern: Any, behavior: Callable[[list[Stretch]], Iterable[str]], *, invert: bool = False
) -> PreTokenizer:
    """Words by where a pattern matches; invert: by where it does not."""

    def cut(text: str, at_start: bool) -> list[str]:
        stretches: list[Stretch] = []
        end = 0
        for found in pattern.finditer(text):
            if found.start() > end:
                stretches.append((text[end : found.start()], invert))
            end = found.end()
            stretches.append((found[0], not invert))
        if end < len(text):
            stretches.append((text[end:], invert))
        return [word for word in behavior(stretches) if word]

    return cut


def _isolated(stretches: list[Stretch]) -> Iterable[str]:
    return (text for text, _ in stretches)


def _removed(stretches: list[Stretch]) -> Iterable[str]:
    return (text for text, matched in stretches if not matched)


def _contiguous(stretches: list[Stretch]) -> list[str]:
    """Matches that follow each other are one word."""
    words: list[str] = []
    previous = None
    for text, matched in stretches:
        if matched == previous:
            words[-1] += text
        else:
            words.append(text)
        previous = matched
    return words


def _merged_with_previous(stretches: list[Stretch]) -> list[str]:
    """A match ends the word before it."""
    words: list[str] = []
    after_match = False
    for text, matched in stretches:
        if matched and not after_match and words:
            words[-1] += text
        else:
            words.append(text)
        after_match = matched
    return words


def _merged_with_next(stretches: list[Stretch]) -> list[str]:
    """A match begins the word after it."""
    words: list[str] = []
    before_match = False
    for text, matched in reversed(stretches):
        if matched and not before_match and words:
            words[-1] = text + words[-1]
        else:
            words.append(text)
        before_match = matched
    return words[::-1]


BEHAVIORS: dict[str, Callable[[list[Stretch]], Iterable[str]]] = {
    "Removed": _removed,
    "Isolated": _isolated,
    "MergedWithPrevious": _merged_with_previous,
    "MergedWithNext": _merged_with_next,
    "Contiguous": _contiguous,
}
BUILDERS: dict[str, Callable[[Part], list[PreTokenizer]]] = {
    "BertPreTokenizer": _bert,
    "ByteLevel": _byte_level,
    "CharDelimiterSplit": _character,
    "Digits": _digits,
    "FixedLength": _fixed_length,
    "Metaspace": _metaspace,
    "Punctuation": _punctuation,
    "Sequence": _sequence,
    "Split": _split,
    "Whitespace": _words,
    "WhitespaceSplit": _white_space,
}
