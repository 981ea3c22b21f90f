"""Cutting a text into words, which a model then encodes one by one: by the name of their type in tokenizer.json.

Source: https://huggingface.co/docs/tokenizers, components, pre-tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..hugging_face import byte_level_text
from .part import Part, build
from .patterns import SPLITS, WORD, compile_pattern, read_pattern
from .traced import Span, Traced

__all__ = ["PreTokenizer", "read_pre_tokenizer"]

Find = Callable[[str], Iterable[Span]]  # where the words of a text are
Stretch = tuple[int, int, bool]  # from where to where, and whether the pattern matched it


class PreTokenizer:
    """Cuts a text into its words; at_start: it begins a whole text, and does not follow an added token or another word.

    find: where the words are; change: what happens to the text before; words: both at once, where that is faster.
    """

    def __init__(
        self,
        find: Find,
        *,
        change: Callable[[Traced, bool], Traced] = lambda traced, at_start: traced,
        words: Callable[[str, bool], list[str]] | None = None,
    ):
        self._find, self._change = find, change
        self._words = words or (lambda text, at_start: [text[start:end] for start, end in find(text)])

    def __call__(self, text: str, at_start: bool) -> list[str]:
        return self._words(text, at_start)

    def traced(self, traced: Traced, at_start: bool) -> list[Traced]:
        """The same words, which remember where they come from."""
        changed = self._change(traced, at_start)
        return changed.parts(self._find(changed.text))


def read_pre_tokenizer(part: Part) -> list[PreTokenizer]:
    """The steps that a component describes, each to be applied to the words of the one before it."""
    return build(part, BUILDERS)


def _sequence(part: Part) -> list[PreTokenizer]:
    return [function for inner in part.parts("pretokenizers") for function in read_pre_tokenizer(inner)]


def _matches(part: Part, pattern: str) -> PreTokenizer:
    """The words are what the pattern matches."""
    compiled = compile_pattern(part, pattern)
    return PreTokenizer(
        lambda text: (found.span() for found in compiled.finditer(text)),
        words=lambda text, at_start: compiled.findall(text),
    )


def _whole(text: str) -> Iterable[Span]:
    return [(0, len(text))]


def _byte_level(part: Part) -> list[PreTokenizer]:
    """Words by GPT-2's pattern where use_regex says so, spelt in the characters that stand for bytes."""
    prefix = part.flag("add_prefix_space", True)
    part.flag("trim_offsets", True)
    steps = [WITH_SPACE] if prefix else []
    if part.flag("use_regex", True):
        steps.append(_matches(part, SPLITS["gpt2"]))
    return [*steps, IN_BYTES]


def _spelt(text: str) -> str:
    return byte_level_text(text.encode())


WITH_SPACE = PreTokenizer(
    _whole,
    change=lambda traced, at_start: traced if traced.text.startswith(" ") else traced.prepended(" "),
    words=lambda text, at_start: [text if text.startswith(" ") else " " + text],
)
IN_BYTES = PreTokenizer(
    _whole, change=lambda traced, at_start: traced.each(_spelt), words=lambda text, at_start: [_spelt(text)]
)


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
    find = compile_pattern(part, f"[{_escape(mark)}][^{_escape(mark)}]*|[^{_escape(mark)}]+")

    def lacks_mark(text: str, at_start: bool) -> bool:
        return (scheme == "always" or (scheme == "first" and at_start)) and not text.startswith(mark)

    def cut(text: str, at_start: bool) -> list[str]:
        text = text.replace(" ", mark)
        text = mark + text if text and lacks_mark(text, at_start) else text
        return find.findall(text) if split else [text]

    def change(traced: Traced, at_start: bool) -> Traced:
        traced = traced.each(lambda character: mark if character == " " else character)
        return traced.prepended(mark) if lacks_mark(traced.text, at_start) else traced

    def spans(text: str) -> Iterable[Span]:
        return [found.span() for found in find.finditer(text)] if split else _whole(text)

    return [PreTokenizer(spans, change=change, words=cut)]


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
    return [_matches(part, rf"[{WORD}]+|[^{WORD}\s]+")]


def _bert(part: Part) -> list[PreTokenizer]:
    return [_matches(part, rf"{PUNCTUATION}|[^!-/:-@\[-`{{-~\p{{P}}\p{{White_Space}}]+")]


def _white_space(part: Part) -> list[PreTokenizer]:
    return [_matches(part, r"\P{White_Space}+")]


def _character(part: Part) -> list[PreTokenizer]:
    delimiter = _escape(part.character("delimiter"))
    return [_matches(part, f"[^{delimiter}]+")]


def _fixed_length(part: Part) -> list[PreTokenizer]:
    length = part.whole("length", 5, least=1)
    return [PreTokenizer(lambda text: ((start, start + length) for start in range(0, len(text), length)))]


def _by_pattern(
    pattern: Any, behavior: Callable[[list[Stretch]], Iterable[Span]], *, invert: bool = False
) -> PreTokenizer:
    """Words by where a pattern matches; invert: by where it does not."""

    def find(text: str) -> list[Span]:
        stretches: list[Stretch] = []
        end = 0
        for found in pattern.finditer(text):
            start, after = found.span()
            if start > end:
                stretches.append((end, start, invert))
            stretches.append((start, after, not invert))
            end = after
        if end < len(text):
            stretches.append((end, len(text), invert))
        return [(start, end) for start, end in behavior(stretches) if start < end]

    return PreTokenizer(find)


def _isolated(stretches: list[Stretch]) -> Iterable[Span]:
    return ((start, end) for start, end, _ in stretches)


def _removed(stretches: list[Stretch]) -> Iterable[Span]:
    return ((start, end) for start, end, matched in stretches if not matched)


def _contiguous(stretches: list[Stretch]) -> list[Span]:
    """Matches that follow each other are one word."""
    words: list[Span] = []
    previous = None
    for start, end, matched in stretches:
        if matched == previous:
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
        previous = matched
    return words


def _merged_with_previous(stretches: list[Stretch]) -> list[Span]:
    """A match ends the word before it."""
    words: list[Span] = []
    after_match = False
    for start, end, matched in stretches:
        if matched and not after_match and words:
            words[-1] = words[-1][0], end
        else:
            words.append((start, end))
        after_match = matched
    return words


def _merged_with_next(stretches: list[Stretch]) -> list[Span]:
    """A match begins the word after it."""
    words: list[Span] = []
    before_match = False
    for start, end, matched in reversed(stretches):
        if matched and not before_match and words:
            words[-1] = start, words[-1][1]
        else:
            words.append((start, end))
        before_match = matched
    return words[::-1]


BEHAVIORS: dict[str, Callable[[list[Stretch]], Iterable[Span]]] = {
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
